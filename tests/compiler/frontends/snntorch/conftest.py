"""snnTorch beside the network that was read from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.frontends.network import network_graph
from neuroloom.sim.reference import run


@pytest.fixture(autouse=True)
def _torch(require_tool: Callable[[str], None]) -> None:
    require_tool("torch")
    require_tool("snntorch")


@pytest.fixture(autouse=True)
def _seeded(_torch: None) -> None:
    import torch

    torch.manual_seed(7)


@pytest.fixture
def dyadic() -> Callable[[Any, float], Any]:
    """Return ``dyadic(module, gain)``: its weights times gain, in multiples of 1/256, so that 16 bits hold them exactly."""

    def change(module: Any, gain: float = 3.0) -> Any:
        import torch

        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name.endswith(("weight", "bias", "recurrent.V")):
                    parameter.copy_(torch.round(parameter * gain * 256) / 256)
        return module.eval()

    return change


@pytest.fixture
def stepped() -> Callable[[Any, np.ndarray], np.ndarray]:
    """Return ``stepped(module, x)``: spikes [batch, time, ...] of a module with hidden states, called once per step."""

    def call(module: Any, x: np.ndarray) -> np.ndarray:
        import torch
        from snntorch import utils

        utils.reset(module)
        out = []
        with torch.no_grad():
            for t in range(x.shape[1]):
                step = module(torch.tensor(x[:, t], dtype=torch.float32))
                out.append((step[0] if isinstance(step, tuple) else step).numpy())
        return np.stack(out, 1).astype(np.int64)

    return call


@pytest.fixture
def network_spikes() -> Callable[..., np.ndarray]:
    """Return ``spikes(imported, layer, x)``: the layer's spikes [batch, time, ...] in the quantised graph."""

    def simulate(
        imported: Any, layer: str, x: np.ndarray, bits: int = 16, shift: int = 8, what: str = "spikes"
    ) -> np.ndarray:
        net = imported.network
        shifts = {name: shift for name, p in net.populations.items() if not p.model.exact}
        graph = network_graph(net, weight_bits=bits, state_bits=32, shifts=shifts)
        flat = x.reshape(*x.shape[:2], -1)
        if imported.encoders:
            given = {name: encode(flat) for name, encode in imported.encoders.items()}
        else:
            given = {graph.inputs[0].name: flat.astype(np.int64)}
        return imported.layer(layer, run(graph, given), what)

    return simulate
