"""Networks as they stand in a flash: the commands load what a host loads, and what cannot stand there is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DoesNotFitError, InputError
from neuroloom.compiler.spiking.core import CORES
from neuroloom.host import standalone
from neuroloom.host.cli.app import main
from neuroloom.host.gated.choose import choose_config
from neuroloom.host.gated.session import GatedDevice
from neuroloom.host.gated.simulated import model_device
from neuroloom.host.spiking.flow import core_design, core_of
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import simulated_device
from neuroloom.host.standalone import COMMANDS, booted_design, build_booted, network_for
from neuroloom.rtl.link.protocol import BOOTS, STANDALONE, Identity
from neuroloom.rtl.spiking.engine import model_hash

import neuroloom as nl

from .gated.test_session import GRAPHS, arrays_of

ICEBREAKER, ULX3S = load_board("icebreaker"), load_board("ulx3s_85f")


def spiking(size: int = 12) -> nl.Model:
    net = nl.Network("net")
    cells = net.input("in", 8)
    out = net.population("out", size, nl.Neuron(threshold=100, leak="multiplicative", beta=60000))
    net.connect(cells, out, weights=np.random.default_rng(1).integers(-40, 90, (8, size)), delay=0)
    net.record(out, "spikes")
    return nl.compile(net)


@pytest.mark.parametrize("profile", ["reward", "twin"])
def test_the_commands_load_a_spiking_core(profile: str) -> None:
    config = next(core for core in CORES["ulx3s_85f"] if core.profile == profile)
    model = spiking()
    data = COMMANDS["spiking"](model.graph, ULX3S, model_hash(config))
    assert data is not None
    with simulated_device(config, board="ulx3s_85f") as device:
        session = SpikingDevice(device)
        assert not session.has(model.graph)
        device.stream([(data, 0)])
        assert session.has(model.graph)
        x = np.random.default_rng(5).integers(0, 2, (2, 6, 8))
        assert np.array_equal(session.run(x)["out.spikes"], model.simulate(x))


@pytest.mark.parametrize("name", ["gru_step", "states"])
def test_the_commands_load_a_gated_engine(name: str) -> None:
    graph = GRAPHS[name]()
    config = choose_config(graph, ULX3S)
    data = COMMANDS["gated"](graph, ULX3S, config.hash())
    assert data is not None
    arrays = arrays_of(graph, 2, 3)
    with model_device(graph, config, board="ulx3s_85f") as one, model_device(graph, config, board="ulx3s_85f") as other:
        one.stream([(data, 0)])
        alone, loaded = GatedDevice(one, config), GatedDevice(other, config)
        assert alone.has(graph) and not loaded.has(graph)
        loaded.load(graph)
        got, want = alone.run(arrays), loaded.run(arrays)
        assert all(np.array_equal(got[key], want[key]) for key in want)


def test_a_design_says_that_it_starts_alone() -> None:
    design = core_design(core_of("infer", ICEBREAKER), ICEBREAKER)
    _, identity, board = booted_design(design, ICEBREAKER, "standalone")
    assert identity.boot == BOOTS | STANDALONE and board.flash_wired
    _, identity, board = booted_design(design, ICEBREAKER, "unattended")
    assert identity.boot == BOOTS and not board.flash_wired


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    core = core_of("infer", ICEBREAKER)
    design = core_design(core, ICEBREAKER)
    gate = GRAPHS["gated"]()
    small = replace(ICEBREAKER, flash=replace(ICEBREAKER.flash, layout=replace(ICEBREAKER.layout, network_bytes=0)))
    with pytest.raises(InputError, match="boot must not be standalone for icebreaker, whose flash has no partition"):
        booted_design(design, small, "standalone")
    gates = design[0], Identity("logic", "icebreaker", bytes(32), 1, 1, 24_000_000)
    with pytest.raises(
        InputError, match="boot must not be standalone for a logic engine, whose bitstream holds the network"
    ):
        booted_design(gates, ICEBREAKER, "standalone")
    with pytest.raises(InputError, match="boot must be none for tang_nano_9k, not standalone: the board is cable only"):
        booted_design(design, load_board("tang_nano_9k"), "standalone")
    with pytest.raises(
        InputError, match="network must be one for the spiking engine of the slot's image, and .* is for a gated one"
    ):
        network_for(gate, ICEBREAKER, "spiking", model_hash(core))
    with pytest.raises(
        InputError, match="image in the slot must have an engine that this host knows, not spiking 0000"
    ):
        network_for(spiking().graph, ICEBREAKER, "spiking", bytes(32))
    with pytest.raises(DoesNotFitError):
        network_for(spiking(2000).graph, ICEBREAKER, "spiking", model_hash(core))

    def full(*words: object, **options: object) -> None:
        raise DoesNotFitError("it needs 5300 LUTs of 5280")

    monkeypatch.setattr(standalone, "build", full)
    with pytest.raises(
        DoesNotFitError, match="5300 LUTs of 5280; loading a network from the flash takes some 200 logic cells"
    ):
        build_booted(design, ICEBREAKER, "standalone")
    with pytest.raises(DoesNotFitError, match="5280$"):
        build_booted(design, ICEBREAKER, "unattended")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("flash", "m.nloom", "--board", "icebreaker"), "a network must be written over --port P, or --into"),
        (("flash", "m.nloom", "--into", "f.img"), "--board must be given with --into"),
        (
            ("flash", "m.nloom", "--into", "f.img", "--board", "icebreaker"),
            "--into must name the flash of a virtual icebreaker",
        ),
        (("flash", "m.nloom", "--into", "f.img", "--port", "p"), "--port must be left out with --into"),
        (("flash", "--forget-network"), "--forget-network must come with --port"),
        (("emulate", "--standalone", "m.nloom"), "--standalone must come with --flash"),
        (("emulate", "--standalone", "--flash", "f.img", "--board", "icebreaker"), "must come with a compiled network"),
    ],
)
def test_options(
    words: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "-q"]) == 2
    assert sentence in capsys.readouterr().err.replace("\n", " ") and not list(tmp_path.iterdir())
