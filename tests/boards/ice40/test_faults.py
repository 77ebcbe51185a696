"""Flipping a used bit of the image changes the simulated logic, or unpacking refuses it; what is left is shown harmless."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from neuroloom.boards.ice40 import unpack
from neuroloom.boards.ice40.bitstream import flip, parse
from neuroloom.boards.ice40.layout import bit_addresses
from neuroloom.boards.ice40.tables import load
from neuroloom.compiler.errors import InputError, UnsupportedError

from .. import side_by_side

FAULTS = """
module top(input clk, input rst, input en, input [3:0] a, output reg [7:0] sum, output [3:0] q, output reg [3:0] n);
  reg [7:0] m [0:511];
  reg [7:0] r = 0;
  reg [4:0] p = 0;
  integer i;
  initial for (i = 0; i < 512; i = i + 1) m[i] = i * 91 + (i >> 3);
  always @(posedge clk) if (rst) sum <= 0; else if (en) sum <= sum + {a, a[2:0]} + r[0];
  always @(posedge clk) begin if (en) m[{4'b0, p}] <= sum; p <= p + a; r <= m[{4'b0, sum[4:0]}]; end
  always @(negedge clk or posedge rst) if (rst) n <= 4'h9; else n <= n ^ sum[3:0] ^ {a[0], r[7:5]};
  assign q = r[4:1] ^ {^p, p[2:0]};
endmodule
"""


@pytest.fixture(scope="module")
def faults(make_design):
    inputs = {"rst": 0, "en": 0, "a": 4}
    return make_design(FAULTS, inputs, {"sum": 8, "q": 4, "n": 4}, rare=frozenset({"rst"}))


def _kind(tables, tile, place) -> str:
    """What a configuration bit is for: "route", or its option with numbers removed."""
    if place in tables.switches(tile):
        return "route"
    name = tables.bit_functions(tables.kinds[tile]).get(place, "none")
    if name.startswith("LC_"):
        order = tables.functions["logic"][name].index(place)
        return {8: "carry", 9: "flop", 18: "set", 19: "async"}.get(order, "table")
    return re.sub(r"\d+(?=\.)|(?<!PINTYPE_)\d+$", "", name)


def _tile_bits(image: bytes, state: bool) -> list[tuple[tuple[int, int], tuple[int, int], str]]:
    """(tile, bit, kind) of every bit in that state, in the tiles that a design uses."""
    stream = parse(image)
    tables = load(stream.device)
    result = []
    for tile, kind in tables.kinds.items():
        if kind == "ipcon" or kind.startswith("dsp"):
            continue  # full of a fixed pattern, which test_hard_cell_pattern covers
        bank, ys, xs = bit_addresses(stream.device, kind, *tile)
        values = stream.cram[bank][ys, xs]
        routed = any(values[place] for place in tables.switches(tile))
        for row, col in np.argwhere(values == state).tolist() if routed or state else ():
            bit = (tile, (row, col), _kind(tables, tile, (row, col)))
            if not bit[2].startswith("ColBuf"):  # always set in whole rows, see test_column_buffers
                result.append(bit)
    return result


def _flip(image: bytes, tile, place) -> bytes:
    stream = parse(image)
    bank, ys, xs = bit_addresses(stream.device, load(stream.device).kinds[tile], *tile)
    return flip(image, [("cram", bank, int(ys[place]), int(xs[place]))])


def campaign(flow, design, part: str, count: int, seed: int, state: bool = True, cycles: int = 500):
    """Flip ``count`` random bits in that state, one at a time. Returns {outcome: [(tile, bit, kind)]} with the outcomes "refused",
    "changed" (an output differed), "same" (the logic is the same text) and "silent" (other logic, no difference seen)."""
    image = flow.build("faults", design, part)
    pcf = flow.pcf(design, part)
    original = unpack(image, pcf=pcf, module="chip").verilog
    bits = random.Random(seed).sample(_tile_bits(image, state), count)
    outcome: dict[str, list] = {"refused": [], "changed": [], "same": [], "silent": []}
    trials, variants = [], [unpack(image, pcf=pcf, module="chip_ok")]
    for number, (tile, place, kind) in enumerate(bits):
        broken = _flip(image, tile, place)
        try:
            variant = unpack(broken, pcf=pcf, module=f"chip_{number}")
        except (UnsupportedError, InputError):
            outcome["refused"].append((tile, place, kind))
            continue
        if variant.verilog.replace(f"chip_{number} ", "chip ", 1) == original:
            outcome["same"].append((tile, place, kind))
            continue
        trials.append((tile, place, kind))
        variants.append(variant)
    noticed = side_by_side.noticed(flow.folder, design, variants, cycles)
    assert 0 not in noticed, "the image without a fault must agree with its source"
    for number, trial in enumerate(trials, 1):
        outcome["changed" if number in noticed else "silent"].append(trial)
    return outcome


HARMLESS = {
    "table": "an entry of a lookup table whose address cannot occur (an input is constant, or unconnected)",
    "IOB_.PINTYPE_0": "the input mode of a pin that is only an output",
    "IOB_.PINTYPE_1": "the input mode of a pin that is only an output, or a latch whose control is not connected",
    "IoCtrl.IE_": "the input buffer of an unused pin",
    "IoCtrl.REN_": "a pull-up",
    "IoCtrl.cf_bit_": "the strength of a pull-up",
    "IoCtrl.padeb_test_": "a test mode of the pad's electrical side",
}
"""Kinds of bits whose flip may leave the logic as it is, and why."""


@pytest.mark.parametrize(("state", "count"), [(True, 60), (False, 60)])
def test_flipped_bits_are_noticed(flow, faults, state, count):
    outcome = campaign(flow, faults, "up5k", count, seed=1, state=state)
    for trial in outcome["same"]:
        assert trial[2] in HARMLESS, f"flip of {trial} left the logic as it was"
    for trial in outcome["silent"]:
        assert trial[2] == "table", f"flip of {trial} changed the logic, and no output differed"
    assert len(outcome["refused"]) + len(outcome["changed"]) >= count * 3 // 4
    print({name: len(trials) for name, trials in outcome.items()})


def test_memory_content_is_the_files(flow, faults):
    image = flow.build("faults", faults, "up5k")
    stream = parse(image)
    bank, y, x = next((b, *np.argwhere(bits)[0]) for b, bits in stream.bram.items() if bits.any())
    assert unpack(image).verilog != unpack(flip(image, [("bram", bank, int(y), int(x))])).verilog


def test_file_faults_are_refused(flow, faults):
    image = flow.build("faults", faults, "up5k")
    wrong = bytearray(image)
    wrong[5000] ^= 4
    with pytest.raises(InputError, match="must match its CRC"):
        unpack(bytes(wrong))
    with pytest.raises(InputError, match="looks truncated"):
        unpack(image[:40_000])
    with pytest.raises(InputError, match="must contain the preamble"):
        unpack(b"\x00" * 64)
    with pytest.raises(InputError, match="is not known"):
        unpack(image[:40] + b"\xf1\x00" + image[40:])
    assert flip(flip(image, [("cram", 0, 3, 7)]), [("cram", 0, 3, 7)]) == image


def _set(image: bytes, tile, place) -> bytes:
    stream = parse(image)
    bank, ys, xs = bit_addresses(stream.device, load(stream.device).kinds[tile], *tile)
    assert not stream.cram[bank][ys[place], xs[place]]
    return _flip(image, tile, place)


def test_column_buffer_of_a_used_clock_is_needed(flow, faults):
    image = flow.build("faults", faults, "up5k")
    tables = load("5k")
    refused = 0
    for tile in sorted(set(tables.colbuf.values())):
        for name, places in tables.functions[tables.kinds[tile]].items() if tile[0] == 16 and tile[1] < 6 else ():
            if name.startswith("ColBufCtrl"):
                try:
                    unpack(_flip(image, tile, places[0]))
                except UnsupportedError as error:
                    assert "its column buffer in tile" in str(error)
                    refused += 1
    assert refused >= 1


def test_unknown_bits_and_patterns_are_refused(flow, faults):
    image = flow.build("faults", faults, "up5k")
    with pytest.raises(UnsupportedError, match=r"ipcon tile \(0, 1\): cell 3 of a hard-cell tile holds a pattern"):
        unpack(_flip(image, (0, 1), (6, 36)))
    with pytest.raises(UnsupportedError, match=r"io tile \(5, 0\): option IoCtrl.LVDS \(bit B8\[2\]\) is set"):
        unpack(_set(image, (5, 0), (8, 2)))
    tables = load("5k")
    place = tables.functions["io"]["IpConfig.cbit2usealt_in_0"][0]
    with pytest.raises(UnsupportedError, match="hard cell SB_I2C is used and is not translated"):
        unpack(_set(image, (19, 31), place))
    known = tables.bit_functions("io").keys() | tables.switches((5, 0)).keys()
    place = next((r, c) for r in range(16) for c in range(18) if (r, c) not in known)
    with pytest.raises(UnsupportedError, match=rf"io tile \(5, 0\): bit B{place[0]}\[{place[1]}\] is set and is not"):
        unpack(_set(image, (5, 0), place))
    stream = parse(image)
    covered = np.zeros_like(stream.cram[0])
    for tile, kind in tables.kinds.items():
        bank, ys, xs = bit_addresses("5k", kind, *tile)
        if bank == 0:
            covered[ys, xs] = True
    y, x = (int(v) for v in np.argwhere(~covered)[0])
    with pytest.raises(UnsupportedError, match="of CRAM bank 0 lies outside all tiles"):
        unpack(flip(image, [("cram", 0, y, x)]))
