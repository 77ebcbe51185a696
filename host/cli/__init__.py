"""The command line: one module per command, listed in :data:`COMMANDS`."""

COMMANDS = (
    "compile",
    "inspect",
    "simulate",
    "eval",
    "verify",
    "build",
    "emulate",
    "flash",
    "run",
    "ping",
    "report",
    "boards",
    "passes",
    "doctor",
)
"""Commands in the order of ``--help``; ``neuroloom.host.cli.cmd_<name>`` holds each."""
