"""Let a board, real or virtual, execute a recorded session (run --record), and compare its answers with the recorded ones."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from neuroloom.host.device import open_port
from neuroloom.host.replay import replay_to_device

from .ui import Ui


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("session", metavar="S.nls", help="written by any command with --record")
    parser.add_argument("--port", metavar="P", required=True, help="serial port, e.g. /dev/ttyUSB1, or emulate's")
    parser.add_argument(
        "--baud", type=int, metavar="B", help="line rate (default: those of the supported boards are tried)"
    )
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="S", help="seconds to wait for an answer (default 5)"
    )


def run(args: argparse.Namespace, ui: Ui) -> int:
    """Replay and report; exit code 1 with the first difference."""
    line = open_port(args.port, args.baud, args.timeout)
    try:
        with ui.progress("replaying", "requests") as update:
            found = replay_to_device(args.session, line, timeout=args.timeout, progress=update)
    finally:
        line.close()
    ui.say(
        f"{found.requests:,} requests in {found.sessions} session{'s' if found.sessions != 1 else ''}: all answers are the recorded"
        f" ones ({found.repeats} frames repeated now)"
    )
    ui.result(asdict(found))
    return 0
