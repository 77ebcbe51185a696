"""Loading and running gated networks over the link, on the model of the engine; choosing the engine; the commands around it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from neuroloom.boards.board import Board
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DeviceError, DoesNotFitError, InputError, UnsupportedError
from neuroloom.compiler.ir import Builder, Type
from neuroloom.compiler.ir.file import save
from neuroloom.compiler.pipeline import compile_graph
from neuroloom.host.cli.app import main
from neuroloom.host.engines import engine_of
from neuroloom.host.flow import run_model
from neuroloom.host.gated import flow
from neuroloom.host.gated.choose import candidates, choose_config
from neuroloom.host.gated.flow import engine_verilog
from neuroloom.host.gated.session import GatedDevice
from neuroloom.host.gated.simulated import model_device
from neuroloom.host.verify import netlist
from neuroloom.host.verify.gated import predicted_cycles
from neuroloom.sim import reference


def _graphs() -> dict[str, Callable[[], Any]]:
    path = Path(__file__).parents[2] / "compiler" / "gated" / "graphs.py"
    spec = importlib.util.spec_from_file_location("gated_graphs", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Callable[[], Any]] = module.GRAPHS
    return found


GRAPHS = _graphs()
ULX3S = load_board("ulx3s_85f")


def arrays_of(graph: Any, count: int, steps: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(9)
    lead = (count, steps) if graph.clocked else (count,)
    return {i.name: rng.integers(i.range[0], i.range[1] + 1, (*lead, *i.value.shape)) for i in graph.inputs}


@pytest.mark.parametrize("name", ["gru_step", "gated", "states"])
def test_a_network_is_loaded_once_and_run_as_the_graph_says(name: str) -> None:
    graph = GRAPHS[name]()
    config = choose_config(graph, ULX3S)
    arrays = arrays_of(graph, 5, 3)
    with model_device(graph, config, board="ulx3s_85f") as device:
        facts: dict[str, Any] = {}
        got = run_model(graph, device, arrays, facts=facts)
        for key, values in reference.run(graph, arrays).items():
            assert np.array_equal(got[key], values)
        assert np.array_equal(facts["cycles"], predicted_cycles(graph, config, arrays))
        session = GatedDevice(device, config)
        assert session.has(graph)
        assert not session.has(GRAPHS["dense"]())
        other = GRAPHS["gru_step"](10, 6, 99)  # the same shape, new weights, the same engine
        session.load(other)
        assert session.has(other) and not session.has(graph)


def test_another_engine_is_refused() -> None:
    graph = GRAPHS["gru_step"]()
    config = choose_config(graph, ULX3S)
    with (
        model_device(graph, replace(config, lanes=8), board="ulx3s_85f") as device,
        pytest.raises(
            DeviceError,
            match=r"must have a gated engine that this host knows, but it has .* build 'gru'",
        ),
    ):
        run_model(graph, device, arrays_of(graph, 1, 1))


def test_which_engine_takes_which_graph() -> None:
    assert engine_of(GRAPHS["gru_step"]()).name == "gated"
    assert engine_of(GRAPHS["gated"]()).name == "gated"
    small = GRAPHS["dense"]()
    assert engine_of(small).name == "logic"
    small.records["gated"] = {}
    assert engine_of(small).name == "gated"


def test_folding_follows_the_target() -> None:
    graph = GRAPHS["gru_step"](64, 64)
    most = {}
    for lanes in (8, 32):
        graph.records["gated"] = {"lanes": lanes}
        config = choose_config(graph, ULX3S)
        assert config.lanes == lanes
        most[lanes] = predicted_cycles(graph, config, arrays_of(graph, 1, 1)).max()
    assert most[32] < most[8] / 2
    graph.records["gated"] = {"latency_s": 1.2 * most[32] / ULX3S.speed("gated").plan.logic_hz}
    assert choose_config(graph, ULX3S).lanes in (16, 32)
    graph.records["gated"] = {"latency_s": 1e-7}
    with pytest.raises(
        DoesNotFitError, match=r"latency must be at most 0.1 us, and \d+ lanes .* take up to [\d,]+ cycles"
    ):
        choose_config(graph, ULX3S)
    graph.records["gated"] = {"max_dsp": 20}
    assert choose_config(graph, ULX3S).multipliers <= 20
    with pytest.raises(InputError, match="has no gated engine of 64 lanes and at most 8 multipliers"):
        list(candidates(ULX3S, {"lanes": 64, "max_dsp": 8}))
    with pytest.raises(UnsupportedError, match="board must be one with a gated engine .*, not tang_nano_9k"):
        choose_config(GRAPHS["dense"](), load_board("tang_nano_9k"))


def test_lookup_tables_at_most(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The engine's tables are those that synthesis counts, once; the fewest lanes that hold the network come first."""
    made = []

    def synthesise(verilog: str, board: Board) -> SimpleNamespace:
        made.append(verilog)
        return SimpleNamespace(counts={"luts": 4000 + 10 * len(made)})

    monkeypatch.setenv("NEUROLOOM_CACHE", str(tmp_path))
    monkeypatch.setattr(netlist, "synthesise", synthesise)
    monkeypatch.setattr(flow, "engine_verilog", lambda config: f"module neuroloom_gated(); // {config}")
    graph = GRAPHS["dense"]()
    graph.records["gated"] = {"max_lut": 4010}
    config = choose_config(graph, ULX3S)
    assert len(made) == 1 and "module top(" in made[0] and config.lanes == 4
    assert choose_config(graph, ULX3S) == config and len(made) == 1, "kept in the cache"
    graph.records["gated"] = {"max_lut": 4009, "lanes": 4}
    with pytest.raises(
        DoesNotFitError, match="must be at most 4,009, and 4 lanes .* take 4,[0-9]+ without the link; allow"
    ):
        choose_config(graph, ULX3S)


def test_too_large_for_one_board_names_another() -> None:
    graph = GRAPHS["gru_step"](64, 64, bits=12)
    with pytest.raises(DoesNotFitError, match=r"tables of profile 'lanes8' must hold .*; it fits ulx3s_85f"):
        choose_config(graph, load_board("icebreaker"))


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = GRAPHS["gated"]()
    graph.records["board"] = "icebreaker"
    save(graph, tmp_path / "g.nloom")
    arrays = arrays_of(graph, 20, 1)
    np.savez(tmp_path / "x.npz", **arrays)
    assert main(["inspect", str(tmp_path / "g.nloom"), "-i", str(tmp_path / "x.npz")]) == 0
    out = capsys.readouterr().out
    assert "gated engine 'lanes8': 8 lanes, 8 multipliers" in out and "on the samples:" in out
    assert main(["inspect", str(tmp_path / "g.nloom"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["gated"]
    assert facts["lanes"] == 8 and facts["cycles"][0] < facts["cycles"][1]
    assert main(["build", str(tmp_path / "g.nloom"), "--spike-pins"]) == 2
    assert "--spike-pins must be left out for a gated network" in capsys.readouterr().err


def test_the_engine_as_verilog() -> None:
    text = engine_verilog(load_board("icebreaker").gated[0])
    assert "module neuroloom_gated(" in text and "module neuroloom_weight_column" in text


def test_single_steps_go_on_from_the_states() -> None:
    graph = GRAPHS["states"]()
    config, arrays = choose_config(graph, ULX3S), arrays_of(graph, 2, 4)
    want = reference.run(graph, arrays)
    with model_device(graph, config, board="ulx3s_85f") as device:
        session = GatedDevice(device, config)
        with pytest.raises(DeviceError, match="a network must be loaded into the engine on .* first"):
            session.step({name: values[0, 0] for name, values in arrays.items()})
        session.load(graph)
        for sample in range(2):
            for step in range(4):
                one = {name: values[sample, step] for name, values in arrays.items()}
                for name, values in session.step(one, fresh=step == 0).items():
                    assert np.array_equal(values, want[name][sample, step]), (name, sample, step)
        with pytest.raises(InputError, match="must have the shape"):
            session.step({name: values[0] for name, values in arrays.items()})


def test_a_small_network_may_be_compiled_for_the_gated_engine() -> None:
    """Its bits stay what they are: the passes of the logic engine would make lookup tables of them, which this one has not."""
    b = Builder("small")
    x, y = (b.input(name, Type.parse("s8"), (4,)) for name in "xy")
    bits = [b.node("relation", [v, b.const(np.zeros((), np.int64))], kind="gt") for v in (x, y)]
    b.output("z", b.node("select", [b.node("bitwise", bits, kind="and"), x, y]))
    graph = b.finish()
    graph.records["gated"] = {}
    compiled = compile_graph(graph)
    assert choose_config(compiled, ULX3S).profile
    arrays = arrays_of(graph, 5, 1)
    assert np.array_equal(reference.run(compiled, arrays)["z"], reference.run(graph, arrays)["z"])
