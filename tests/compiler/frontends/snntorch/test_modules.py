"""Live snnTorch modules against snnTorch itself: with enough bits every spike is the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.snntorch import import_snntorch

import neuroloom as nl

Fixture = Callable[..., Any]
RESETS = ("subtract", "zero", "none")


def spikes(seed: int, *shape: int, rate: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < rate


def neuron(kind: str, size: int, **options: Any) -> Any:
    """A neuron of each kind; decays are dyadic and differ between neurons where snnTorch allows vectors."""
    import snntorch as snn
    import torch

    betas = torch.tensor([0.5, 0.875, 0.9375])[torch.arange(size) % 3]
    own: dict[str, Any] = {
        "Leaky": {"beta": betas},
        "Synaptic": {"alpha": 0.75, "beta": betas},
        "RLeaky": {"beta": 0.875, "linear_features": size},
        "RSynaptic": {"alpha": 0.5, "beta": 0.75, "all_to_all": False, "V": torch.linspace(-1, 1, size)},
        "Lapicque": {"R": 2.0, "C": 2.0, "time_step": 1.0},
        "Alpha": {"alpha": 0.75, "beta": 0.5},
    }
    return getattr(snn, kind)(**own[kind], init_hidden=True, **options)


CASES = [
    *itertools.product(("Leaky", "Synaptic", "RLeaky"), RESETS, (True, False)),
    *itertools.product(("RSynaptic",), RESETS, (True,)),
    *itertools.product(("Lapicque", "Alpha"), RESETS, (None,)),
]


@pytest.mark.parametrize(("kind", "reset", "delay"), CASES)
def test_every_neuron_spikes_as_in_snntorch(
    kind: str, reset: str, delay: bool | None, dyadic: Fixture, stepped: Fixture, network_spikes: Fixture
) -> None:
    import torch.nn as nn

    options = {} if delay is None else {"reset_delay": delay}
    last = neuron(kind, 6, reset_mechanism=reset, output=True, threshold=0.375, **options)
    first = neuron(kind, 12, reset_mechanism=reset, threshold=0.75, **options)
    module = dyadic(nn.Sequential(nn.Linear(20, 12), first, nn.Linear(12, 6), last), 4.0)
    x = spikes(3, 4, 40, 20)
    expected = stepped(module, x)
    imported = import_snntorch(module, sample=x[:, 0].astype(np.float32))
    assert 10 < expected.sum() < expected.size
    np.testing.assert_array_equal(network_spikes(imported, f"{kind.lower()}3", x), expected)


def test_membranes_are_those_of_snntorch(dyadic: Fixture, network_spikes: Fixture) -> None:
    import snntorch as snn
    import torch
    import torch.nn as nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(5, 3), snn.Leaky(beta=0.5)

        def forward(self, x: Any) -> Any:
            mem, out = self.lif.init_leaky(), []
            for step in x:
                _, mem = self.lif(self.fc(step), mem)
                out.append(mem)
            return torch.stack(out)

    module, x = dyadic(Net()), spikes(1, 2, 12, 5)
    with torch.no_grad():
        expected = module(torch.tensor(x.transpose(1, 0, 2), dtype=torch.float32)).numpy().transpose(1, 0, 2)
    imported = import_snntorch(module, sample=x.transpose(1, 0, 2).astype(np.float32))
    found = network_spikes(imported, "lif", x, what="v")
    from neuroloom.compiler.spiking.quantise import quantise

    shifts = {"lif": 8}
    scale = quantise(imported.network, weight_bits=16, state_bits=32, shifts=shifts)[0].populations["lif"].scale
    np.testing.assert_allclose(found / scale, expected, atol=20 / scale)


def test_inhibition_lets_one_neuron_spike(dyadic: Fixture, stepped: Fixture, network_spikes: Fixture) -> None:
    import snntorch as snn
    import torch.nn as nn

    with pytest.warns(UserWarning, match="Inhibition"):
        last = snn.Leaky(beta=0.875, inhibition=True, init_hidden=True, output=True, threshold=0.5)
    module, x = dyadic(nn.Sequential(nn.Linear(10, 8), last)), spikes(5, 3, 40, 10)
    expected = stepped(module, x)
    imported = import_snntorch(module, sample=x[:, 0].astype(np.float32))
    assert expected.sum(2).max() == 1
    np.testing.assert_array_equal(network_spikes(imported, "leaky1", x), expected)


def test_convolutions_and_pooling(dyadic: Fixture, stepped: Fixture, network_spikes: Fixture) -> None:
    import snntorch as snn
    import torch
    import torch.nn as nn

    module = nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), padding=1, stride=(1, 2), groups=2),
        nn.BatchNorm2d(4),
        snn.Leaky(beta=0.5, init_hidden=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3, padding="same", bias=False),
        nn.AvgPool2d((1, 2)),
        snn.Leaky(beta=0.75, init_hidden=True, threshold=0.5),
        nn.Dropout2d(0.5),
        nn.Flatten(),
        nn.Linear(12, 5),
        snn.Leaky(beta=0.5, init_hidden=True, output=True, threshold=0.25),
    )
    module = dyadic(module, 4.0)
    with torch.no_grad():  # powers of two, so that the folded weights stay exact
        module[1].running_var.fill_(4.0 - module[1].eps)
        module[1].running_mean.fill_(-0.25)
    x = spikes(2, 2, 15, 2, 8, 8, rate=0.4)
    expected = stepped(module, x)
    imported = import_snntorch(module, sample=x[:, 0].astype(np.float32))
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(network_spikes(imported, "leaky10", x), expected)


def test_conv1d_and_average_pool1d(dyadic: Fixture, stepped: Fixture, network_spikes: Fixture) -> None:
    import snntorch as snn
    import torch.nn as nn

    module = nn.Sequential(
        nn.Conv1d(1, 3, 5, stride=2, dilation=2), nn.AvgPool1d(2), snn.Leaky(beta=0.5, init_hidden=True, threshold=0.5),
        nn.MaxPool1d(2), nn.Flatten(), nn.Linear(3, 4), snn.Leaky(beta=0.5, init_hidden=True, output=True),
    )  # fmt: skip
    module, x = dyadic(module, 5.0), spikes(6, 2, 30, 1, 20, rate=0.4)
    expected = stepped(module, x)
    imported = import_snntorch(module, sample=x[:, 0].astype(np.float32))
    assert expected.any()
    np.testing.assert_array_equal(network_spikes(imported, "leaky6", x), expected)


def test_integers_are_taken_exactly(stepped: Fixture, network_spikes: Fixture) -> None:
    import snntorch as snn
    import torch
    import torch.nn as nn

    module = nn.Sequential(nn.Linear(10, 6), snn.Leaky(beta=1.0, threshold=9, init_hidden=True, output=True)).eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.randint(-7, 8, (6, 10)))
        module[0].bias.copy_(torch.randint(-3, 4, (6,)))
    x = spikes(4, 2, 50, 10)
    imported = import_snntorch(module, sample=x[:, 0].astype(np.float32))
    assert imported.network.exact
    np.testing.assert_array_equal(network_spikes(imported, "leaky1", x), stepped(module, x))


def test_a_constant_current_goes_through_the_host(dyadic: Fixture, stepped: Fixture, network_spikes: Fixture) -> None:
    import snntorch as snn
    import torch.nn as nn

    module = dyadic(nn.Sequential(nn.Linear(8, 6), snn.Leaky(beta=0.5, init_hidden=True, output=True)))
    image = np.random.default_rng(1).integers(0, 17, (4, 8)) / 16
    x = np.repeat(image[:, None], 20, 1)
    expected = stepped(module, x)
    imported = import_snntorch(module, sample=image.astype(np.float32), inputs="current", input_range=(0, 1))
    assert list(imported.encoders) == ["leaky1_current"] and 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(network_spikes(imported, "leaky1", x), expected)
    options = {"sample": image.astype(np.float32), "inputs": "current", "input_range": (0, 1)}
    exact = {"weight_bits": 16, "state_bits": 32, "shift": 8}
    model = nl.compile(module, steps=20, **exact, **options)
    for given in (image, x):  # the file knows the first layer
        np.testing.assert_array_equal(model.outputs(given)["leaky1.spikes"], expected)
    with pytest.raises(InputError, match="must come with a number of steps"):
        nl.compile(module, **options).simulate(image)
    with pytest.raises(InputError, match="steps must go with inputs='current'"):
        nl.compile(module, sample=np.ones((1, 8), np.float32), steps=3)


def test_fewer_bits_differ_and_by_how_much(stepped: Fixture, network_spikes: Fixture) -> None:
    """Spikes that differ as the weights get fewer bits (of about a thousand); shown with pytest -s."""
    import snntorch as snn
    import torch
    import torch.nn as nn

    module = nn.Sequential(
        nn.Linear(64, 32),
        snn.Leaky(beta=0.9, init_hidden=True),
        nn.Linear(32, 10),
        snn.Leaky(beta=0.8, init_hidden=True, output=True),
    ).eval()
    with torch.no_grad():
        module[0].weight *= 4
        module[2].weight *= 4
    x = spikes(0, 6, 40, 64)
    expected = stepped(module, x)
    imported = import_snntorch(module, sample=x[:, 0].astype(np.float32))
    differ = {bits: int((network_spikes(imported, "leaky3", x, bits) != expected).sum()) for bits in (16, 12, 8, 4)}
    print(f"\nspikes that differ of {expected.sum()} by weight bits: {differ}")
    assert differ[16] <= 0.01 * expected.sum()
    assert differ[16] <= differ[8] <= differ[4]
    assert differ[4] < expected.sum()


def test_decays_may_be_shared(network_spikes: Fixture) -> None:
    import snntorch as snn
    import torch
    import torch.nn as nn

    beta = torch.linspace(0.3, 0.9, 100)
    module = nn.Sequential(nn.Linear(4, 100), snn.Leaky(beta=beta, init_hidden=True)).eval()
    sample = np.ones((1, 4), np.float32)
    with pytest.raises(UnsupportedError, match="100 different decays"):
        import_snntorch(module, sample=sample)
    imported = import_snntorch(module, sample=sample, decay_values=8)
    betas = {name: p.model.beta for name, p in imported.network.populations.items()}
    assert len(betas) == 8
    for name, index in imported.places["leaky1"]:
        assert np.abs(beta.numpy()[index] - betas[name]).max() < 0.6 / 8
    assert 0 < float(imported.network.records["decay_values"]["leaky1"]) < 0.6 / 8
    one = import_snntorch(module, sample=sample, decay_values=1)
    assert list(one.network.populations) == ["leaky1"]


def test_compile_takes_a_live_module(stepped: Fixture) -> None:
    import snntorch as snn
    import torch.nn as nn

    module = nn.Sequential(nn.Linear(4, 3), snn.Leaky(beta=0.5, init_hidden=True, output=True)).eval()
    x = spikes(0, 2, 10, 4)
    model = nl.compile(module, sample=x[:, 0].astype(np.float32), weight_bits=16, state_bits=32, shift=8)
    found = model.simulate(x.astype(np.int64))
    assert set(found) == {"leaky1.spikes", "leaky1.v"}
    np.testing.assert_array_equal(found["leaky1.spikes"], stepped(module, x))
