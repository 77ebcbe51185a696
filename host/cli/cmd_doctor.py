"""Check this machine's tools; with --port, check a board on its first day: link, memory, identity."""

from __future__ import annotations

import argparse
import platform
import sys
from typing import Any

import numpy as np
from neuroloom.boards import toolchain
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DeviceError
from neuroloom.host.device import Device, connect
from neuroloom.host.flashing import FlashLoader
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.rtl.flash.network import START_ABOUT, Start

from .ports import add_port, port_options
from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_port(parser, required=False)
    parser.add_argument("--board", metavar="B", help="the board that must be on the port")


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Print what was found; exit code 3 when a required tool is missing, 1 when the board fails a check."""
    if args.port:
        return _board(args, ui)
    if args.board:
        load_board(args.board)
    rows = toolchain.status()
    ui.say(f"Python {platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})")
    ui.table(
        "",
        ("", "tool", "version", "from", "for"),
        [
            (
                "ok" if r.tool else "--",
                r.name,
                r.tool.version if r.tool else "missing",
                r.tool.origin if r.tool else "",
                r.purpose,
            )
            for r in rows
        ],
    )
    absent = [r for r in rows if r.tool is None]
    for row in absent:
        ui.say(f"{row.name} ({'required' if row.required else 'optional'}, {row.purpose}): {row.install}")
    if not absent:
        ui.say("everything is here")
    ui.result(
        [
            {
                "tool": r.name,
                "version": r.tool.version if r.tool else None,
                "required": r.required,
                "install": r.install,
            }
            for r in rows
        ]
    )
    return 3 if any(r.required for r in absent) else 0


def _board(args: argparse.Namespace, ui: Ui) -> int:
    expected = load_board(args.board) if args.board else None
    checks: list[tuple[str, bool, str]] = []
    with connect(args.port, **port_options(args, ui)) as device:
        identity = device.identify()
        right = expected is None or identity.board == expected.name
        checks.append(("identity", right, f"{identity.board}, {identity.engine} engine, protocol {identity.version}"))
        quality = _LineQuality(device)
        checks.append(("link loop-back", *_loopback(device, identity.max_payload)))
        march = device.memtest()
        text = f"{march.tested_bytes:,} bytes"
        checks.append(
            (
                "memory march",
                march.passed,
                text if march.passed else f"{text}, wrong at address {march.address} in bits {march.difference:#04x}",
            )
        )
        if identity.engine == "spiking":
            checks.append(("spiking core", *_core(device)))
        if (network := device.network()) is not None:
            checks.append(("network", network in (Start.LOADED, Start.EMPTY), START_ABOUT[network]))
        if identity.engine == "loader":
            checks.append(("flash", *_flash(device)))
        checks.append(("line quality", *quality.verdict()))
    ui.table("", ("check", "result", "detail"), [(n, "pass" if ok else "FAIL", d) for n, ok, d in checks])
    if not checks[0][1] and expected:
        ui.say(f"the board must be {expected.name}, not {identity.board}: check --port, or build for {identity.board}")
    ui.result([{"check": n, "passed": ok, "detail": d} for n, ok, d in checks])
    return 0 if all(ok for _, ok, _ in checks) else 1


class _LineQuality:
    """What happened on the line from now on. Repeating what was only answered late is no fault of the line."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._counters = device.status()
        self._repeats, self._broken = device.repeats, device.broken

    def verdict(self) -> tuple[bool, str]:
        """Whether every frame came through whole, and what the two sides counted."""
        device = self._device
        repeats = (
            device.repeats - self._repeats
        )  # before the counters are asked for: those do not know of their own repetition
        counters = device.status()
        new = {name: (counters[name] - self._counters[name]) % 256 for name in ("frames_bad", "dropped", "repeats")}
        damaged = new["frames_bad"] + new["dropped"] + device.broken - self._broken
        lost = max(0, repeats - new["repeats"])  # of the others the device had the first one
        late = f" ({repeats - lost} because the answer came late)" if repeats > lost else ""
        return not damaged and not lost, f"{damaged} frames damaged, {repeats} repeated{late}"


def _flash(device: Device) -> tuple[bool, str]:
    """The flash behind golden, and how many of its slots hold an image."""
    try:
        loader = FlashLoader(device)
        full = sum(loader.state(slot).length is not None for slot in range(1, loader.layout.slots + 1))
    except DeviceError as e:
        return False, str(e)
    return True, f"{loader.chip}, {full} of {loader.layout.slots} slots hold an image"


def _core(device: Device) -> tuple[bool, str]:
    """What the core says of itself, and whether it stands still."""
    session = SpikingDevice(device)
    config, status = session.config, session.status()
    several = f"{config.cores} cores, each of " if config.cores > 1 else ""
    sizes = f"{config.neurons:,} neurons, {config.inputs:,} inputs, {config.pool_words:,} pool words"
    text = f"profile {config.profile}, {several}{sizes}"
    return not status.running, text if not status.running else f"{text}, still running in step {status.step:,}"


def _loopback(device: Device, largest: int) -> tuple[bool, str]:
    """Echo of patterns that are hard on a line and on COBS: zeros, ones, alternation, every byte, random."""
    rng = np.random.default_rng(1)
    size = min(largest, 254)
    patterns: list[bytes] = [
        b"",
        b"\0",
        b"\0" * size,
        b"\xff" * size,
        b"\x55\xaa" * (size // 2),
        bytes(range(256))[:largest],
    ]
    patterns += [rng.bytes(int(rng.integers(1, size + 1))) for _ in range(26)]
    times: list[float] = []
    try:
        for pattern in patterns:
            times.append(device.ping(pattern))
    except DeviceError as e:
        return False, f"after {len(times)} of {len(patterns)} patterns: {e}"
    data: dict[str, Any] = {"best": 1e3 * min(times), "worst": 1e3 * max(times)}
    return True, f"{len(patterns)} patterns, round trip {data['best']:.2f} to {data['worst']:.2f} ms"
