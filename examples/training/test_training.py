"""The numba kernels against plain torch, and the trained network against its hardened and written forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def torch(require_tool):
    require_tool("torch")
    import torch

    return torch


def interpolate(torch, x, indices, tables):
    """The definition, term by term: sum over addresses of table entry times product of inputs or complements."""
    k = indices.shape[1]
    out = 0
    for address in range(1 << k):
        term = tables[:, address, None]
        for j in range(k):
            wire = x[indices[:, j]]
            term = term * (wire if address >> j & 1 else 1 - wire)
        out = out + term
    return out


@pytest.mark.parametrize("k", [2, 3, 4, 6])
def test_look_up_and_its_gradients_equal_plain_torch(torch, k: int) -> None:
    from examples.training.layers import LookUp

    generator = np.random.default_rng(k)
    wires, nodes, rows, batch, count = 9, 6, 3, 37, 4
    x = torch.tensor(generator.random((wires, batch)), dtype=torch.float32, requires_grad=True)
    tables = torch.tensor(generator.random((rows, 1 << k)), dtype=torch.float32, requires_grad=True)
    # Three tables shared by six nodes, the logits shared alike; wires may repeat within a node.
    candidates = generator.integers(0, wires, (nodes, k, count)).astype(np.int32)
    logits = torch.tensor(generator.standard_normal((rows, k, count)), dtype=torch.float32, requires_grad=True)
    table_of = np.tile(np.arange(rows, dtype=np.int32), nodes // rows)
    choice = np.tile(logits.detach().numpy().argmax(-1), (nodes // rows, 1))
    indices = np.take_along_axis(candidates, choice[..., None], -1)[..., 0].copy()
    weights = torch.tensor(generator.standard_normal((nodes, batch)), dtype=torch.float32)

    out = LookUp.apply(x, tables, tables.detach(), logits, indices, table_of, candidates)
    (out * weights).sum().backward()
    found = [x.grad.clone(), tables.grad.clone(), logits.grad.clone()]

    for parameter in (x, tables, logits):
        parameter.grad = None
    expected = interpolate(torch, x, indices, tables[table_of])
    assert torch.allclose(out, expected, atol=1e-5)
    (expected * weights).sum().backward()
    assert torch.allclose(found[0], x.grad, atol=1e-4)
    assert torch.allclose(found[1], tables.grad, atol=1e-4)

    # Wiring: the gradient that a softmax mixture of the candidates would get, at the inputs in use.
    slots = x.detach()[indices].requires_grad_()  # [nodes, k, batch]
    flat = slots.reshape(nodes * k, batch)
    own = np.arange(nodes * k).reshape(nodes, k)
    (interpolate(torch, flat, own, tables.detach()[table_of]) * weights).sum().backward()
    share = torch.softmax(logits, -1).repeat(nodes // rows, 1, 1)
    mixture = (share[..., None] * x.detach()[candidates]).sum(2)
    logits.grad = None
    (mixture * slots.grad).sum().backward()
    assert torch.allclose(found[2], logits.grad, atol=1e-4)


def test_maximum_and_its_gradient_equal_plain_torch(torch) -> None:
    from examples.training.convolution import Pool

    generator = np.random.default_rng(0)
    x = torch.tensor(generator.integers(0, 2, (5 * 4 * 3, 20)), dtype=torch.float32, requires_grad=True)
    out = Pool((5, 4, 3))(x)
    weights = torch.tensor(generator.standard_normal(tuple(out.shape)), dtype=torch.float32)
    (out * weights).sum().backward()
    found = x.grad.clone()
    x.grad = None
    expected = x.view(5, 4, 3, 20)[:4].reshape(2, 2, 2, 2, 3, 20).amax((1, 3)).reshape(12, 20)
    assert torch.equal(out, expected)
    (expected * weights).sum().backward()
    assert torch.allclose(found, x.grad, atol=1e-6)


def tiny(seed: int):
    from examples.training.convolution import Pool, TreeConvolution
    from examples.training.layers import GroupSum, Lut, Thermometer
    from examples.training.network import LogicNetwork

    options: dict[str, Any] = {"generator": np.random.default_rng(seed), "noise": 3.0}
    first = TreeConvolution((8, 8, 2), 5, 3, stride=2, pad=1, candidates=3, **options)
    second = TreeConvolution(first.output_shape, 6, 2, rank=2, depth=3, **options)
    pool = Pool(second.output_shape)
    return LogicNetwork(
        Thermometer(np.tile([5.2, 10.7], (64, 1))),
        first,
        second,
        pool,
        Lut(pool.outputs, 50, 6, candidates=4, **options),
        Lut(50, 40, 3, **options),
        GroupSum(40, 10, 2.5),
    )


def test_trained_hardened_and_written_networks_agree(torch, onnx_scores, tmp_path) -> None:
    from examples.training.loop import Schedule, fit
    from examples.training.onnx_file import read, write

    generator = np.random.default_rng(1)
    images = generator.integers(0, 17, (300, 64)).astype(np.uint8)
    labels = generator.integers(0, 10, 300)
    network = tiny(0)
    fit(network, (images, labels), None, Schedule(epochs=2, hard_from=0.5), seed=0, report=lambda line: None)
    hard = network.freeze()
    expected = hard.scores(images)
    assert expected.std() > 0.3  # the comparison below is not between constants

    network.set_hard(True)
    network.eval()
    with torch.no_grad():
        scores = network(torch.from_numpy(images.astype(np.float32))).numpy() * 2.5
    assert np.array_equal(np.rint(scores).astype(np.int64), expected)

    path = tmp_path / "tiny.onnx"
    write(hard, path, name="tiny", input_name="image", input_shape=(64,))
    assert np.array_equal(read(path).scores(images), expected)
    scores, labels = onnx_scores(path, images)
    assert np.array_equal(scores, expected.astype(np.float32) / np.float32(2.5))
    assert np.array_equal(labels, expected.argmax(1))


def test_training_is_reproducible_and_learns(torch) -> None:
    from examples.training.layers import GroupSum, Lut, Thermometer
    from examples.training.loop import Schedule, fit
    from examples.training.network import LogicNetwork

    generator = np.random.default_rng(0)
    images = generator.integers(0, 17, (512, 8)).astype(np.uint8)
    labels = ((images[:, 0] >= 8) ^ (images[:, 1] >= 8)).astype(np.int64)

    def run() -> tuple[int, list[bytes]]:
        rng = np.random.default_rng(3)
        network = LogicNetwork(
            Thermometer(np.full((8, 1), 8.0)), Lut(8, 40, 2, candidates=8, generator=rng), GroupSum(40, 2, 4.0)
        )
        best = fit(
            network,
            (images[:384], labels[:384]),
            (images[384:], labels[384:]),
            Schedule(epochs=40, batch=64, rate=0.1, hard_from=0.0),
            seed=0,
            report=lambda line: None,
        )
        return best, [p.detach().numpy().tobytes() for p in network.parameters()]

    first, second = run(), run()
    assert first == second
    assert first[0] == 128
