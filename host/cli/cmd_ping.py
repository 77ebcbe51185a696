"""Ask the device on a port who it is."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from neuroloom.host.device import connect
from neuroloom.host.latency import advice
from neuroloom.rtl.flash.network import START_ABOUT

from .ports import add_port, port_options
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_port(parser)


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Ping, identify, print."""
    with connect(args.port, **port_options(args, ui)) as device:
        seconds = device.ping()
        identity = device.identify()
        latency = device.adapter_latency_ms
        network = device.network()
    rows = [(k, v.hex() if isinstance(v, bytes) else v) for k, v in asdict(identity).items()]
    ui.table("", ("field", "value"), rows)
    if network is not None:
        ui.say(f"network in the flash: {START_ABOUT[network]}")
    if seconds is not None:
        ui.say(f"round trip {1e3 * seconds:.2f} ms")
    if hint := advice(latency):
        ui.note(hint)
    ui.result(
        {
            **asdict(identity),
            "round_trip_s": seconds,
            "adapter_latency_ms": latency,
            "network": None if network is None else network.name.lower(),
        }
    )
    return 0
