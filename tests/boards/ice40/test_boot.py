"""Multi-boot flash images as icemulti writes them, and the chip database being absent."""

from __future__ import annotations

import pytest
from neuroloom.boards import toolchain
from neuroloom.boards.ice40 import image_address, tables, unpack
from neuroloom.compiler.errors import InputError, MissingToolError

ONE = "module top(input clk, output reg q = 0); always @(posedge clk) q <= ~q; endmodule\n"


def test_images_of_a_flash(flow, make_design):
    design = make_design(ONE, {}, {"q": 0})
    image = flow.build("one", design, "hx1k")
    for name in ("a", "b"):
        (flow.folder / f"{name}.bin").write_bytes(image + name.encode() * 100)
    args = ["-p0", "-v", "-a", "16", "-o", "multi.bin", "a.bin", "b.bin"]
    toolchain.run("icemulti", args, cwd=flow.folder, timeout=60)
    flash = (flow.folder / "multi.bin").read_bytes()
    places = [image_address(flash), image_address(flash, 0), image_address(flash, 1)]
    assert places[0] == places[1] < places[2]
    for place, name in zip(places[1:], ("a", "b"), strict=True):
        part = flash[place:]
        unpacked = unpack(part)
        assert part[len(image) :].startswith(name.encode() * 100)
        assert unpacked.size <= len(image) and unpacked.cells["DFF"] == 1 and not unpacked.sleeps
    assert image_address(image) == 0


def test_bad_flash():
    with pytest.raises(InputError, match="must hold an image or a boot header at address 0x20 for warm boot slot 0"):
        image_address(b"\xff" * 4096, 0)
    with pytest.raises(InputError, match="slot must be 0 to 3, not 4"):
        image_address(b"", 4)


def test_missing_database(monkeypatch):
    monkeypatch.setattr(tables, "FOLDERS", ())
    monkeypatch.delenv("ICEBOX", raising=False)
    with pytest.raises(MissingToolError, match="chipdb-5k.txt is not installed; run: apt-get install fpga-icestorm"):
        tables.find_chipdb("5k")
