"""The options of commands that talk to a device."""

from __future__ import annotations

import argparse
from typing import Any

from neuroloom.compiler.errors import InputError
from neuroloom.host.session_file import SUFFIX

from .ui import Ui


def add_port(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """--port, --baud, --timeout, --record."""
    parser.add_argument(
        "--port",
        metavar="P",
        required=required,
        help="serial port, e.g. /dev/ttyUSB1, or emulate's; a recorded session, S.nls, is replayed to the host",
    )
    parser.add_argument(
        "--baud", type=int, metavar="B", help="line rate (default: those of the supported boards are tried)"
    )
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds to wait for an answer")
    parser.add_argument(
        "--record", metavar="S.nls", help="write everything on the line to this file, for 'neuroloom replay'"
    )


def port_options(args: argparse.Namespace, ui: Ui) -> dict[str, Any]:
    """Keyword arguments for ``connect``."""
    options: dict[str, Any] = {"on_wait": ui.note}
    if args.baud is not None:
        options["baud"] = args.baud
    if args.timeout is not None:
        options["timeout"] = args.timeout
    if args.record is not None:
        if not args.record.endswith(SUFFIX):
            raise InputError(f"--record must name a file that ends with {SUFFIX}, not {args.record}")
        options["record"] = args.record
    return options
