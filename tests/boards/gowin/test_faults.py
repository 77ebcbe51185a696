"""A set fuse that is cleared changes what the unpacked logic does, or is refused; so is a fuse that nothing translates."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from neuroloom.boards.gowin import bitstream
from neuroloom.boards.gowin.fabric import Fabric
from neuroloom.boards.gowin.memory import content_places
from neuroloom.boards.gowin.tables import load, union
from neuroloom.boards.gowin.unpack import unpack
from neuroloom.compiler.errors import InputError, UnsupportedError

from .. import side_by_side

FAULTS = """
module top(input clk, input rst, input en, input [3:0] a, output reg [7:0] sum, output [3:0] q, output reg [3:0] n);
  reg [7:0] m [0:511];
  reg [7:0] r = 0;
  reg [4:0] p = 0;
  reg [3:0] t [0:15];
  integer i;
  initial for (i = 0; i < 512; i = i + 1) m[i] = i * 91 + (i >> 3);
  always @(posedge clk) if (rst) sum <= 0; else if (en) sum <= sum + {a, a[2:0]} + r[0];
  always @(posedge clk) begin if (en) m[{4'b0, p}] <= sum; p <= p + a; r <= m[{4'b0, sum[4:0]}]; end
  always @(posedge clk) if (en) t[p[3:0]] <= sum[7:4];
  always @(negedge clk or posedge rst) if (rst) n <= 4'h9; else n <= n ^ sum[3:0] ^ {a[0], r[7:5]};
  assign q = r[4:1] ^ {^p, p[2:0]} ^ t[sum[3:0]];
endmodule
"""
FLIPS, SEED = 16, 5
"""As many of any set fuses as of set entries of look-up tables: most of the others are switches, whose loss is refused."""


@pytest.fixture(scope="module")
def faults(make_design):
    return make_design(FAULTS, {"rst": 0, "en": 0, "a": 4}, {"sum": 8, "q": 4, "n": 4}, rare=frozenset({"rst"}))


@pytest.fixture(scope="module")
def image(flow, faults) -> bytes:
    return flow.build("faults", faults)


@pytest.fixture(scope="module")
def read(flow, faults):
    """Unpacks an image of the design."""
    names = flow.names(faults)
    return lambda data, module="chip": unpack(data, part="GW1NR-LV9QN88PC6/I5", names=names, module=module)


def _places(tables) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """The chip's fuses that are entries of look-up tables, and those of pins, of which there are many alike."""
    entries, pins, row = set(), set(), 0
    for y in range(tables.rows):
        column = 0
        for x in range(tables.cols):
            data = tables.data((y, x))
            for index in range(8 if "LUT0" in data.bels else 0):
                for fuses in data.bels[f"LUT{index}"].flags.values():
                    entries |= {(row + r, column + c) for r, c in fuses}
            for side in "AB":
                pins |= {(row + r, column + c) for r, c in union(tables.long((y, x), f"IOB{side}"))}
            column += data.width
        row += tables.data((y, 0)).height
    return entries, pins


def test_cleared_fuses_are_noticed(flow, faults, image, read):
    """Any set fuse may be hit. What is not noticed is an entry of a look-up table that its inputs never choose."""
    original = read(image)
    stream = bitstream.parse(image)
    entries, pins = _places(load(stream.device))
    places = [place for place in map(tuple, np.argwhere(stream.fuses).tolist()) if place not in pins]
    drawn = random.Random(SEED)
    tried = drawn.sample(places, FLIPS) + drawn.sample([place for place in places if place in entries], FLIPS)
    variants, hit, refused, same = [original], [], 0, 0
    for place in dict.fromkeys(tried):
        try:
            unpacked = read(bitstream.flip(image, [place]), f"chip{len(variants)}")
        except UnsupportedError as error:
            assert re.match(r"Gowin tile R\d+C\d+ \(type \d+\): |Gowin logic must have no", str(error))
            refused += 1
            continue
        if unpacked.verilog.replace(unpacked.module, original.module) == original.verilog:
            assert place in entries, f"the fuse {place} does nothing"
            same += 1
            continue
        variants.append(unpacked)
        hit.append(place)
    noticed = side_by_side.noticed(flow.folder, faults, variants, 600, source=False)
    silent = [place for number, place in enumerate(hit, 1) if number not in noticed]
    assert set(silent) <= entries, silent
    assert refused >= FLIPS // 2 and len(noticed) >= FLIPS // 2, (refused, len(noticed), len(silent), same)


def test_content_of_block_ram_is_that_of_the_file(flow, faults, image, read):
    stream = bitstream.parse(image)
    tables = load(stream.device)
    fabric = Fabric(stream, tables)
    original = read(image)
    tile = next(tile for tile in fabric.set if f" b_{tile[0]}_{tile[1]} (" in original.verilog)
    places = content_places(fabric, tile)
    changed = read(bitstream.flip(image, [], [tuple(place) for place in places[:16, 1].tolist()]), "chip1")
    assert side_by_side.noticed(flow.folder, faults, [original, changed], 600, source=False) == {1}
    beside = (int(places[0, 0, 0]), 0)
    with pytest.raises(UnsupportedError, match=r"content at .* belongs to no block RAM in use"):
        read(bitstream.flip(image, [], [beside]))


def test_fuses_that_nothing_translates_are_named(image, read):
    """A phase-locked loop, an output register of a block RAM, a latch, a delay of a pin: whatever is added is refused."""
    stream = bitstream.parse(image)
    tables = load(stream.device)
    wanted = {(9, 1): "PLL", (18, 0): "HCLK", (3, 0): "IOLOGICA", (18, 1): "DSP0", (28, 0): "OSC"}
    for tile, table in wanted.items():
        row = sum(tables.data((y, 0)).height for y in range(tile[0]))
        column = sum(tables.data((0, x)).width for x in range(tile[1]))
        fuse = min(
            fuse for fuses in tables.short(tile, table).values() for fuse in fuses if fuse not in _routing(tables, tile)
        )
        flipped = bitstream.flip(image, [(row + fuse[0], column + fuse[1])])
        with pytest.raises(UnsupportedError, match=rf"Gowin tile R{tile[0] + 1}C{tile[1] + 1} \(type \d+\): .*set"):
            read(flipped)


def _routing(tables, tile) -> set:
    return {fuse for fuses in tables.switch_fuses(tile).values() for fuse in fuses}


def test_damaged_files_are_refused(image):
    lines = image.decode().splitlines()
    frame = next(n for n, line in enumerate(lines) if len(line) > 2000) + 40
    hit = lines[frame]
    damaged = "\n".join(
        [*lines[:frame], hit[:100] + ("0" if hit[100] == "1" else "1") + hit[101:], *lines[frame + 1 :]]
    )
    for text, message in (
        (damaged, "frame 40 must fit its CRC"),
        ("\n".join(lines[:300]), r"must have \d+ frames|ends after"),
        ("\n".join(line for line in lines if line[:8] != "00001010"), "must have a checksum"),
        (
            image.decode().replace("0001000100000000010010000001101", "0001000100000000010110000001101"),
            "must be for a GW1N-9C",
        ),
        ("hello", "must be whole bytes of zeros and ones"),
        ("", "must begin with ones and its preamble"),
    ):
        with pytest.raises(InputError, match=message):
            bitstream.parse(text.encode())
    with pytest.raises(InputError, match="must be text of zeros and ones"):
        bitstream.parse(b"\xff\xfe\x80")
