"""The rungs netlist and bitstream of spiking networks: the core of the iCEBreaker as cells, and as a packed image over its UART."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.host.verify import spiking, spiking_bitstream, spiking_netlist
from neuroloom.host.verify.ladder import climb
from neuroloom.host.verify.netlist import Netlist
from neuroloom.host.verify.result import RungResult, random_vectors

import neuroloom as nl

BOARD = "icebreaker"


@pytest.fixture(scope="module")
def model() -> nl.Model:
    """22 neurons in two populations, recurrent, spikes and membranes recorded; for the profile infer."""
    rng = np.random.default_rng(1)
    net = nl.Network("small")
    cells = net.input("in", 12)
    a = net.population("a", 18, nl.Neuron(threshold=200, leak="multiplicative", beta=60000), record=["spikes", "v"])
    o = net.population("o", 4, nl.Neuron(threshold=100, leak="subtractive", decay=3, reset="subtract"))
    net.connect(cells, a, weights=rng.integers(-20, 90, (12, 18)), delay=0)
    net.connect(a, a, weights=rng.integers(-20, 20, (18, 18)), delay=1)
    net.connect(a, o, weights=rng.integers(-20, 30, (18, 4)), delay=0)
    net.record(o, "spikes")
    return nl.compile(net)


@pytest.mark.campaign
def test_cells_of_the_core_compute_the_network(model, require_tool):
    """Minutes of synthesis and compilation."""
    require_tool("verilator")
    x = random_vectors(model.graph, 2, 1)
    result = spiking_netlist.check(model.graph, x, board=load_board(BOARD))
    assert result.ok and result.samples == 2 and result.cycles > 10_000
    assert result.facts["luts"] > 2000 and result.facts["dsps"] > 0 and result.facts["spram_bits"] > 0


@pytest.mark.campaign
def test_the_packed_core_loads_runs_and_reads_back(model, require_tool):
    """Place and route with one seed (cached), the image unpacked and driven over its UART pins."""
    require_tool("verilator")
    require_tool("icebox")
    result = spiking_bitstream.check(model.graph, random_vectors(model.graph, 1, 1), board=load_board(BOARD))
    assert result.ok and result.samples == 1 and "over its UART pins, 40 steps" in result.detail


def test_a_board_that_cannot_be_read_back_is_refused_before_any_build(model):
    x = random_vectors(model.graph, 1, 1)
    with pytest.raises(
        UnsupportedError, match=r"must be for an iCE40 or a Gowin board to be read back, not for ulx3s_85f \(ecp5\)"
    ):
        spiking_bitstream.check(model.graph, x, board=load_board("ulx3s_85f"))


def test_cells_without_a_model_are_named():
    """Nobody has a model of ECP5's 54-bit adders; of its block RAM and multipliers there are our own."""
    netlist = Netlist("module top; endmodule\n", {"LUT4": 3, "ALU54B": 2, "MULT18X18D": 1}, {"luts": 3}, 1.0)
    with pytest.raises(UnsupportedError, match=r"there is none of ALU54B \(ecp5\); verify up to rtl for ulx3s_85f"):
        spiking_netlist.with_models(netlist, load_board("ulx3s_85f"))
    fine = Netlist("module top; endmodule\n", {"LUT4": 3, "DP16KD": 2, "MULT18X18D": 1}, {"luts": 3}, 1.0)
    assert "module DP16KD" in spiking_netlist.with_models(fine, load_board("ulx3s_85f"))
    fine = Netlist("module top; endmodule\n", {"SB_LUT4": 3, "SB_SPRAM256KA": 2, "SB_MAC16": 1}, {"luts": 3}, 1.0)
    assert "module SB_MAC16" in spiking_netlist.with_models(fine, load_board(BOARD))


def test_the_ladder_takes_these_rungs(model, monkeypatch):
    """netlist and bitstream of a spiking network are its own."""
    seen = []

    def stub(name):
        def check(graph, arrays, **options):
            seen.append((name, options["board"].name))
            return RungResult(name, True, 1, 1, "", 0.0)

        return check

    for module, name in ((spiking, "rtl"), (spiking_netlist, "netlist"), (spiking_bitstream, "bitstream")):
        monkeypatch.setattr(module, "check", stub(name))
    done = climb(model.graph, random_vectors(model.graph, 1, 1), to="bitstream", board=BOARD)
    assert [r.name for r in done] == ["graph", "fast", "rtl", "netlist", "bitstream"]
    assert sorted(seen) == [("bitstream", BOARD), ("netlist", BOARD), ("rtl", BOARD)]  # they run at once
