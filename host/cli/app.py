"""``main``: parses the command line, runs one command, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

from neuroloom.compiler.errors import NeuroloomError

from . import COMMANDS
from .ui import Ui

EXIT_DONE = 0
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

EXIT_CODES = "exit codes: 0 done, 1 the answer is no, 2 bad input, 3 missing tool, 4 device, 130 interrupted"


def load_command(name: str) -> ModuleType:
    """The module of a command. It has ``arguments(parser)`` and ``run(args, ui) -> int``."""
    return importlib.import_module(f"neuroloom.host.cli.cmd_{name}")


def parser(chosen: str | None) -> argparse.ArgumentParser:
    """The command line's parser, with the options of the command ``chosen`` only: other modules stay unloaded."""
    from neuroloom import __version__

    top = argparse.ArgumentParser(
        prog="neuroloom",
        description="Trained spiking, logic-gate and gated networks to small FPGAs, exactly.",
        epilog=EXIT_CODES,
    )
    top.add_argument("--version", action="version", version=f"neuroloom {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        sub = commands.add_parser(name, help=text, epilog=EXIT_CODES)
        if name == chosen:
            module = load_command(name)
            sub.description = module.__doc__
            sub.add_argument("--json", action="store_true", help="print the result as JSON")
            sub.add_argument("-v", "--verbose", action="store_true", help="show tracebacks and tool output")
            sub.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
            module.arguments(sub)
            sub.set_defaults(module=module)
    return top


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code and never raises for a user's mistake."""
    args = parser(argv[0] if argv and argv[0] in COMMANDS else None).parse_args(argv)
    ui = Ui(json=args.json, verbose=args.verbose, quiet=args.quiet)
    try:
        code = args.module.run(args, ui)
        sys.stdout.flush()
        return code
    except NeuroloomError as e:
        return _fail(ui, str(e), e.exit_code)
    except KeyboardInterrupt:
        return _fail(ui, "interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of our stdout has left: nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as e:
        return _fail(ui, f"{e.filename}: {e.strerror}", EXIT_BAD_INPUT)
    except MemoryError:
        return _fail(ui, "not enough memory for this network and batch; send fewer samples at a time", EXIT_BAD_INPUT)


def _fail(ui: Ui, sentence: str, code: int) -> int:
    if ui.verbose:
        traceback.print_exc()
    ui.error(sentence)
    return code
