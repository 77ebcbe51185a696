"""Modules with a forward of their own: loops over time, feedback, stacks; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.snntorch import import_snntorch, load_snntorch

Fixture = Callable[..., Any]


def parts() -> Any:
    """A base class of modules with two layers of 12 and 4 neurons on 10 inputs."""
    import snntorch as snn
    import torch
    import torch.nn as nn

    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.lif1 = nn.Linear(10, 12), snn.Leaky(beta=0.875, learn_beta=True)
            self.fc2, self.lif2 = nn.Linear(12, 4), snn.Synaptic(alpha=0.5, beta=0.75, reset_mechanism="zero")
            self.back, self.drop = nn.Linear(4, 12), nn.Dropout(0.5)
            self.lif1.threshold = torch.linspace(0.5, 1.0, 12)

    return Parts


def time_first() -> Any:
    import torch

    class Net(parts()):
        def forward(self, x: Any) -> Any:
            mem1, (syn2, mem2), out = self.lif1.init_leaky(), self.lif2.init_synaptic(), []
            for step in range(x.size(0)):
                spk1, mem1 = self.lif1(self.drop(self.fc1(x[step].flatten(1))), mem1)
                spk2, syn2, mem2 = self.lif2(2 * self.fc2(spk1) - 0.25, syn2, mem2)
                out.append(spk2)
            return torch.stack(out, dim=0)

    return Net()


def layer_by_layer() -> Any:
    import torch

    class Net(parts()):
        def forward(self, x: Any) -> Any:
            mem1, (syn2, mem2), first, out = self.lif1.init_leaky(), self.lif2.init_synaptic(), [], []
            for step in x.unbind(0):
                spk1, mem1 = self.lif1(self.fc1(step), mem1)
                first.append(spk1)
            for spk1 in torch.stack(first):
                spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
                out.append(spk2)
            return torch.stack(out)

    return Net()


def feedback() -> Any:
    import torch

    class Net(parts()):
        def forward(self, x: Any) -> Any:
            mem1, (syn2, mem2), out = torch.zeros(x.shape[1], 12), self.lif2.init_synaptic(), []
            spk2 = torch.zeros(x.shape[1], 4)
            for step in x:
                spk1, mem1 = self.lif1(self.fc1(step) + self.back(spk2), mem1)
                spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
                out.append(spk2)
            return torch.stack(out)

    return Net()


@pytest.mark.parametrize("make", (time_first, layer_by_layer, feedback))
def test_a_loop_over_steps_is_read_as_one_step(make: Fixture, dyadic: Fixture, network_spikes: Fixture) -> None:
    import torch

    module = dyadic(make(), 4.0)
    x = np.random.default_rng(2).random((3, 30, 10)) < 0.3
    first = x.transpose(1, 0, 2).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.tensor(first)).numpy().transpose(1, 0, 2).astype(np.int64)
    imported = import_snntorch(module, sample=first[:5])
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(network_spikes(imported, "lif2", x), expected)


def test_a_static_input_and_a_sum_of_spikes(dyadic: Fixture, network_spikes: Fixture) -> None:
    import torch

    class Net(parts()):
        def forward(self, x: Any, steps: int) -> Any:
            mem1, total = self.lif1.init_leaky(), 0
            for _ in range(steps):
                spk1, mem1 = self.lif1(self.fc1(x), mem1)
                total = total + spk1
            return total

    module = dyadic(Net())
    x = np.random.default_rng(2).random((3, 10)) < 0.5
    with torch.no_grad():
        expected = module(torch.tensor(x, dtype=torch.float32), 20).numpy().astype(np.int64)
    imported = import_snntorch(module, sample=(x.astype(np.float32), 5))
    counts = network_spikes(imported, "lif1", np.repeat(x[:, None], 20, 1)).sum(1)
    np.testing.assert_array_equal(counts, expected)


def test_an_initial_membrane_is_kept(dyadic: Fixture, network_spikes: Fixture) -> None:
    import torch

    class Net(parts()):
        def forward(self, x: Any) -> Any:
            mem, out = torch.linspace(-1, 1, 12).expand(x.shape[1], 12), []
            for step in x:
                spk, mem = self.lif1(self.fc1(step), mem)
                out.append(spk)
            return torch.stack(out)

    module, x = dyadic(Net()), np.random.default_rng(2).random((2, 20, 10)) < 0.3
    first = x.transpose(1, 0, 2).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.tensor(first)).numpy().transpose(1, 0, 2).astype(np.int64)
    imported = import_snntorch(module, sample=first)
    assert np.any(imported.network.populations["lif1"].model.v_init)
    np.testing.assert_array_equal(network_spikes(imported, "lif1", x), expected)


def test_the_module_is_left_as_it_was() -> None:
    import snntorch as snn
    import torch
    import torch.nn as nn

    module = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), snn.Leaky(beta=0.5, init_hidden=True)).train()
    module(torch.ones(2, 4))
    held, forward = module[2].mem.clone(), module[0].forward
    import_snntorch(module, sample=np.ones((2, 4), np.float32))
    assert module.training and module[1].training and torch.equal(module[2].mem, held)
    assert module[0].forward == forward and "forward" not in module[0].__dict__


def test_a_linear_end_becomes_a_readout(dyadic: Fixture, network_spikes: Fixture) -> None:
    import snntorch as snn
    import torch.nn as nn

    module = dyadic(nn.Sequential(nn.Linear(6, 8), snn.Leaky(beta=0.5, init_hidden=True), nn.Linear(8, 3)))
    imported = import_snntorch(module, sample=np.ones((1, 6), np.float32))
    assert imported.network.records["snntorch"]["outputs"] == ["readout.v"]
    x = np.random.default_rng(0).random((2, 10, 6)) < 0.4
    assert network_spikes(imported, "readout", x, what="v").any()


def refused(module: Any, *words: str, sample: Any = None, **options: Any) -> None:
    """The module must be refused in one sentence with these words."""
    with pytest.raises((UnsupportedError, InputError)) as error:
        load_snntorch(module, sample=np.ones((2, 4), np.float32) if sample is None else sample, **options)
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


def test_what_is_not_carried_is_named() -> None:
    import snntorch as snn
    import torch
    import torch.nn as nn
    from snntorch import surrogate

    def chain(neuron: Any, *between: Any) -> Any:
        return nn.Sequential(nn.Linear(4, 4), *between, neuron)

    def leaky(**options: Any) -> Any:
        return snn.Leaky(beta=0.5, init_hidden=True, **options)

    refused(chain(snn.SLSTM(4, 4, init_hidden=True)), "SLSTM", "not carried")
    refused(chain(leaky(graded_spikes_factor=2.0)), "graded")
    refused(chain(leaky(state_quant=lambda x: x)), "state_quant")
    refused(chain(leaky(spike_grad=lambda x: torch.sigmoid(x))), "spike_grad")
    refused(chain(leaky(), nn.ReLU()), "relu", "'2'")
    refused(chain(leaky(), nn.MaxPool1d(2)), "'1'")
    refused(
        nn.Sequential(nn.Conv1d(1, 2, 3), nn.MaxPool1d(2), leaky()), "maximum of currents", sample=np.ones((2, 1, 8))
    )
    refused(nn.Sequential(nn.Linear(4, 4)), "no snnTorch neuron")
    refused(chain(leaky()), "sample", sample=np.full((2, 4), 0.5))
    refused(chain(leaky()), "failed on the sample", sample=np.ones((2, 5)))
    refused(
        chain(snn.RSynaptic(alpha=0.5, beta=0.5, linear_features=4, init_hidden=True, reset_delay=False)), "reset_delay"
    )
    changed = leaky()
    changed.reset_mechanism = "zero"
    refused(chain(changed), "reset_mechanism 'zero'", "'subtract'")
    del surrogate


def test_forwards_that_are_no_network_are_named() -> None:
    import torch

    class Decides(parts()):
        def forward(self, x: Any) -> Any:
            spk, _ = self.lif1(self.fc1(x))
            return spk if spk.sum() > 0 else -spk

    class Rewired(parts()):
        def forward(self, x: Any) -> Any:
            spk, mem = self.lif1(self.fc1(x), torch.zeros(2, 12))
            spk, mem = self.lif1(self.fc1(x), mem * 0.5)
            return spk

    class Changes(parts()):
        def forward(self, x: Any) -> Any:
            spk, mem = self.lif1(self.fc1(x), torch.zeros(2, 12))
            spk, mem = self.lif1(2 * self.fc1(x), mem)
            return spk

    class Uneven(parts()):
        def forward(self, x: Any) -> Any:
            spk, mem = self.lif1(self.fc1(x), torch.zeros(2, 12))
            spk, mem = self.lif1(self.fc1(x), mem)
            return self.lif2(self.fc2(spk))[0]

    class Graded(parts()):
        def forward(self, x: Any) -> Any:
            _, mem = self.lif1(self.fc1(x))
            return self.lif2(self.fc2(mem))[0]

    class Silent(parts()):
        def forward(self, x: Any) -> Any:
            self.lif1(self.fc1(x))
            return torch.zeros(1)

    x = np.ones((2, 10), np.float32)
    refused(Decides(), "decides", sample=x)
    refused(Rewired(), "own mem", "step 1", sample=x)
    refused(Changes(), "step 0", "step 1", sample=x)
    refused(Uneven(), "once in every step", sample=x)
    refused(Graded(), "graded membrane", "lif1", sample=x)
    refused(Silent(), "returns nothing", sample=x)
