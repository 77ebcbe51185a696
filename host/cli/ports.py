"""The options of commands that talk to a device."""

from __future__ import annotations

import argparse
from typing import Any


def add_port(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """--port, --baud, --timeout."""
    parser.add_argument("--port", metavar="P", required=required, help="serial port, e.g. /dev/ttyUSB1, or emulate's")
    parser.add_argument("--baud", type=int, metavar="B", help="line rate (default: the link's 3,000,000)")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds to wait for an answer")


def port_options(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments for ``connect``."""
    options: dict[str, Any] = {}
    if args.baud is not None:
        options["baud"] = args.baud
    if args.timeout is not None:
        options["timeout"] = args.timeout
    return options
