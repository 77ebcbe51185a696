"""Whether an image finds back to golden: the choice of a build, and what it means for the identity of the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from neuroloom.boards.board import Board
from neuroloom.compiler.errors import InputError
from neuroloom.rtl.link.protocol import BOOTS, GUARDED, STANDALONE, Identity

BOOT_POLICIES: Mapping[str, int] = {
    "none": 0,
    "unattended": BOOTS,
    "attended": BOOTS | GUARDED,
    "standalone": BOOTS | STANDALONE,
}
"""The identity's ``boot`` by policy. ``none``: for the cable, the image is alone in the flash; ``attended``: goes back to golden
unless a host confirms it in time; ``unattended``: goes back when it is asked to, and may run without a host; ``standalone``: as
``unattended``, and loads the network in the flash into its engine at its start."""


def with_boot(identity: Identity, board: Board, policy: str) -> Identity:
    """The identity of a design with this boot policy; raises InputError for a board that holds one image only."""
    check_policy(board, policy)
    return replace(identity, boot=BOOT_POLICIES[policy])


def next_image(identity: Identity, board: Board) -> int | None:
    """The address of the image that a design's bitstream must name as the next one: golden's slot, golden for those in it.

    None where the gateware chooses (iCE40), and for designs that boot none.
    """
    policy = policy_of(identity)
    if policy == "none" or not board.flash.boot_pins:
        return None
    return board.layout.slot_at(1) if policy == "golden" else 0


def check_policy(board: Board, policy: str) -> None:
    """Raise InputError for a policy that is none, or that ``board`` cannot have."""
    if policy not in BOOT_POLICIES:
        raise InputError(f"boot must be one of {', '.join(BOOT_POLICIES)}, not {policy!r}")
    if policy != "none" and board.flash.layout is None:
        raise InputError(
            f"boot must be none for {board.name}, not {policy}: the board is cable only, its flash holds one image; "
            "leave --boot out"
        )


def policy_of(identity: Identity) -> str:
    """The policy of a device by its identity; the loader's is ``golden``."""
    if identity.engine == "loader":
        return "golden"
    return next(name for name, bits in BOOT_POLICIES.items() if bits == identity.boot)
