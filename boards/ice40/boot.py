"""Which image of a multi-boot flash the device loads, as icemulti lays it out.

At power-up the device executes the commands at address 0, at a warm boot those at 32 * (1 + slot). They are either an image
or a short header that sets a boot address and reboots there. Source: Project IceStorm, icemulti and Lattice TN1248.
"""

from __future__ import annotations

from neuroloom.compiler.errors import InputError

from .bitstream import PREAMBLE, SEARCH_BYTES

HEADER_BYTES = 32


def image_address(flash: bytes, slot: int | None = None) -> int:
    """Address in flash of the image that power-up (``slot`` None) or SB_WARMBOOT (slot S1 S0 = 0 to 3) loads.

    Raises :class:`InputError` where the flash holds neither an image nor a boot header.
    """
    if slot is not None and not 0 <= slot <= 3:
        raise InputError(f"warm boot slot must be 0 to 3, not {slot}")
    at = 0 if slot is None else HEADER_BYTES * (1 + slot)
    what = "at power-up" if slot is None else f"for warm boot slot {slot}"
    header = flash[at : at + HEADER_BYTES]
    if not header.startswith(PREAMBLE):
        if slot is None and PREAMBLE in flash[:SEARCH_BYTES]:
            return 0
        raise InputError(f"flash must hold an image or a boot header at address {at:#x} {what}, and does not")
    target, pos = None, len(PREAMBLE)
    while pos < len(header):
        opcode, count = header[pos] & 0xF0, header[pos] & 0x0F
        payload = int.from_bytes(header[pos + 1 : pos + 1 + count], "big")
        pos += 1 + count
        if opcode == 0x40:
            target = payload & 0xFFFFFF  # the top byte is the flash's read command
        elif (opcode, payload) == (0x00, 8) and target is not None:
            return target
        elif opcode not in (0x80, 0x90):
            return at  # any other command configures the device: an image without comments
    raise InputError(f"boot header at address {at:#x} {what} must end in a reboot, and does not")
