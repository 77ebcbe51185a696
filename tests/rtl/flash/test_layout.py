"""The map of the flash: labels and flags as hosts read them, and golden's header page."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.rtl.flash.layout import Layout, SlotState, boot_header, golden_image, label

LAYOUT = Layout(golden_bytes=0x10000, slot_bytes=0x10000, slots=3, flash_bytes=1 << 19)
BLANK = b"\xff" * 4


def test_headers_are_icemultis(tmp_path: Path, require_tool) -> None:
    """Power-up and four images, as the tool of Project IceStorm places them."""
    require_tool("icemulti")
    image = tmp_path / "image.bin"
    image.write_bytes(b"\xff\x00\x00\xff\x7e\xaa\x99\x7e" + bytes(100))
    out = tmp_path / "multi.bin"
    subprocess.run(["icemulti", "-p0", "-A16", "-o", str(out), *[str(image)] * 4], check=True)
    data = out.read_bytes()
    for at in range(0, 160, 32):
        assert data[at : at + 32] == boot_header(int.from_bytes(data[at + 9 : at + 12], "big"))


def test_golden_is_what_power_up_and_image_0_load_and_slots_are_the_others() -> None:
    from neuroloom.boards.ice40.boot import image_address

    whole = golden_image(LAYOUT, b"\x7e\xaa\x99\x7e rest")
    assert whole[256:] == b"\x7e\xaa\x99\x7e rest"
    assert [image_address(whole, n) for n in (None, 0, 1, 2, 3)] == [256, 256, 0x10000, 0x20000, 0x30000]
    with pytest.raises(InputError, match="golden must have at most 65280 bytes, not 65281"):
        golden_image(LAYOUT, bytes(65281))


@pytest.mark.parametrize(
    ("flags", "found", "starts"),
    [
        (b"\xff\xff\xff\xff", set(), False),
        (b"\xff\xff\x00\xff", {"start"}, True),
        (b"\x00\xff\x00\xff", {"attempted", "start"}, False),
        (b"\x00\x00\x00\xff", {"attempted", "confirmed", "start"}, True),
        (b"\x7f\xff\x00\xff", {"attempted", "start"}, False),  # torn: it was tried
        (b"\x00\x7f\x00\xff", {"attempted", "start"}, False),  # torn: it is not known to be good
        (b"\xff\x00\x00\xfe", {"confirmed", "start", "held"}, False),
    ],
)
def test_flags_count_for_the_safe_side(flags: bytes, found: set[str], starts: bool) -> None:
    state = SlotState.from_bytes(label(b"image") + flags)
    assert (state.length, state.flags, state.starts) == (5, found, starts)


def test_a_torn_label_holds_no_image() -> None:
    whole = label(b"image")
    for bit in range(8 * len(whole)):
        torn = bytearray(whole)
        torn[bit // 8] ^= 1 << bit % 8
        assert SlotState.from_bytes(bytes(torn) + BLANK).length is None


def test_maps() -> None:
    assert Layout.from_bytes(LAYOUT.to_bytes()) == LAYOUT and LAYOUT.end == 0x40000
    with pytest.raises(DeviceError, match="loader must be of version 1, not 9"):
        Layout.from_bytes(b"\x09" + LAYOUT.to_bytes()[1:])
    with pytest.raises(InputError, match="slot must be 1 to 3, not 0; slot 0 is golden"):
        LAYOUT.slot_at(0)
    with pytest.raises(InputError, match="must fit into 131072 bytes"):
        Layout(0x10000, 0x10000, 3, 1 << 17)
