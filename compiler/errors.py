"""Typed errors of the whole project.

The library raises these and never exits or prints; ``main()`` alone turns them into one sentence and an exit code.
"""

from __future__ import annotations


class NeuroloomError(Exception):
    """Base of every error meant for a user: one sentence saying what, where and what to do next.

    ``exit_code`` is what the command line returns: 1 the answer is "no", 2 bad input, 3 missing tool, 4 device.
    """

    exit_code = 2


class InputError(NeuroloomError):
    """A file, array or option the user gave is not acceptable."""


class UnsupportedError(InputError):
    """The source is legal but cannot be carried exactly; the message names the node, the reason and what to do."""


class GraphError(NeuroloomError):
    """A graph breaks a rule of the IR; names the pass, the node and its source node."""


class DoesNotFitError(NeuroloomError):
    """The network is larger than the board; says by how much and which board it would fit."""

    exit_code = 1


class MismatchError(NeuroloomError):
    """Two rungs of the verification ladder disagree; carries the first difference."""

    exit_code = 1


class MissingToolError(NeuroloomError):
    """An external tool is absent; the message names it, the variable that overrides it and the install command."""

    exit_code = 3


class DeviceError(NeuroloomError):
    """The board or its serial port failed: missing, busy, silent, garbled, or running another network."""

    exit_code = 4
