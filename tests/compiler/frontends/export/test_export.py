"""``export`` itself: containers, free-form modules, the check against the module, labels, files and refusals."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError, MismatchError, UnsupportedError
from neuroloom.compiler.frontends.export import evaluate, export


@pytest.fixture(autouse=True)
def seed(torch):
    torch.manual_seed(0)


@pytest.fixture
def bits(torch):
    return torch.randint(0, 2, (20, 12)).float()


def _network(torch, kit):
    return torch.nn.Sequential(kit.LogicDense(12, 40), kit.GroupSum(10, 2.0))


def test_training_mode_is_exported_as_eval_and_left_alone(torch, stand_ins, bits):
    module = _network(torch, stand_ins).train()
    export(module, bits)
    assert module.training and all(inner.training for inner in module.modules())


def test_label_is_the_arg_max_and_comes_second(torch, stand_ins, bits, run_ort):
    model = export(_network(torch, stand_ins), bits, label=True)
    assert [o.name for o in model.graph.output] == ["output", "label"]
    got = run_ort(model, {"input": bits.numpy().astype(bool)})
    np.testing.assert_array_equal(got["label"], got["output"].argmax(-1))


def test_file_is_written_and_deterministic(torch, stand_ins, bits, tmp_path):
    module = _network(torch, stand_ins)
    model = export(module, bits, tmp_path / "a.onnx")
    export(module, bits, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert onnx.load(tmp_path / "a.onnx") == model


def test_numpy_samples_and_bool_samples(torch, stand_ins, bits):
    module = _network(torch, stand_ins)
    want = export(module, bits)
    assert export(module, bits.numpy()) == want
    assert export(module, bits.numpy().astype(bool)) == want


def test_a_subclass_of_sequential_is_a_container(torch, stand_ins, bits):
    class Net(torch.nn.Sequential):
        pass

    model = export(Net(stand_ins.LogicDense(12, 6), Net(torch.nn.Identity(), stand_ins.LogicDense(6, 6))), bits)
    assert [n.name for n in model.graph.node] == ["0", "1.1"]
    assert model.graph.name == "Net"


def test_a_module_with_its_own_forward(torch, stand_ins, run_ort):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encode = stand_ins.FixedBinarization(torch.rand(1, 2), feature_dim=1)
            self.a = stand_ins.LogicConv2d(6, 2, 4, tree_depth=2, receptive_field_size=3, padding=1)
            self.b = stand_ins.LogicConv2d(6, 4, 4, tree_depth=2, receptive_field_size=3, padding=1)
            self.layers = torch.nn.ModuleList([stand_ins.LogicDense(8 * 36, 200), stand_ins.LogicDense(200, 200)])
            self.sums = stand_ins.GroupSum(10, 3.0)

        def forward(self, x):
            a = self.a(self.encode(x.reshape(x.shape[0], 1, 6, 6)))
            b = self.b(a)
            x = torch.cat([a + b - a * b, 1 - b], dim=1)
            x = x.view(x.size(0), -1)
            for layer in self.layers:
                x = layer(x)
            x = self.layers[1](x)
            return self.sums(torch.maximum(x, x * x))

    module, sample = Net().eval(), torch.rand(9, 36)
    model = export(module, sample)
    got = run_ort(model, {"input": sample.numpy()})["output"]
    np.testing.assert_array_equal(got, module(sample).detach().numpy())
    np.testing.assert_array_equal(got, evaluate(model, {"input": sample.numpy()})["output"])
    names = [n.name for n in model.graph.node]
    assert {"a", "b", "layers.0", "layers.1", "layers.1#2"} <= set(names)


def test_the_check_catches_a_library_that_computes_otherwise(torch, stand_ins, bits):
    class LogicDense(stand_ins.LogicDense):
        def forward(self, x):
            return 1 - super().forward(x)

    with pytest.raises(MismatchError, match=r"output\[0, 0\] is (True|False), torch says [01]\.0"):
        export(LogicDense(12, 6), bits)


def test_a_sample_the_module_cannot_take(torch, stand_ins, bits):
    class GroupSum(stand_ins.GroupSum):
        def forward(self, x):
            raise RuntimeError("no such kernel")

    module = torch.nn.Sequential(stand_ins.LogicDense(12, 6), GroupSum(2))
    with pytest.raises(InputError, match="not fail with RuntimeError: no such kernel.*check=False"):
        export(module, bits)
    export(module, bits, check=False)


def _broken(torch, kit, **attributes):
    layer = kit.LogicDense(12, 6)
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


def _hooked(torch, kit):
    layer = kit.LogicDense(12, 6)
    layer.register_forward_hook(lambda *_: None)
    return torch.nn.Sequential(layer)


def _with_nan(torch, kit):
    layer = kit.LogicDense(12, 6)
    layer.weight.data[0, 0] = float("nan")
    return layer


def _moved_wiring(torch, kit):
    layer = kit.LogicConv2d((3, 4), 1, 2, receptive_field_size=2)
    layer.connections.level_0[0, 0, 3, 0, 0] -= 1
    return torch.nn.Sequential(torch.nn.Unflatten(1, (1, 3, 4)), layer)


class _Odd:
    """Forwards that torch can run and the exporter must refuse."""

    @staticmethod
    def make(torch, layer, forward):
        class Odd(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = layer

        Odd.forward = forward
        return Odd()


REFUSALS = {
    "unknown layer": (
        lambda torch, kit: torch.nn.Sequential(kit.LogicDense(12, 6), torch.nn.Linear(6, 2)),
        "module '1' (Linear): there is no exact reading of this class; build the network from DummyBinarization, ",
    ),
    "unknown layer deep inside": (
        lambda torch, kit: torch.nn.Sequential(
            kit.LogicDense(12, 6), torch.nn.Sequential(torch.nn.Identity(), torch.nn.BatchNorm1d(6))
        ),
        "module '1.1' (BatchNorm1d): there is no exact reading of this class",
    ),
    "hook": (_hooked, "module '0' (LogicDense): forward hooks cannot be carried over; remove them before exporting"),
    "NaN": (_with_nan, "module 'LogicDense' (LogicDense): weights must not hold NaN; check the training run"),
    "bfloat16": (
        lambda torch, kit: kit.LogicDense(12, 6).bfloat16(),
        "weights must have an element type that numpy has, not torch.bfloat16; call module.float() first",
    ),
    "unknown parametrisation": (
        lambda torch, kit: _broken(torch, kit, parametrization=torch.nn.Identity()),
        "its parametrization must be one of RawLUTParametrization, WarpLUTParametrization, LightLUTParametrization, "
        "not Identity",
    ),
    "unknown wiring": (
        lambda torch, kit: _broken(torch, kit, connections=torch.nn.Identity()),
        "its connections must be one of FixedDenseConnections, LearnableDenseConnections, not Identity",
    ),
    "wrong input size": (
        lambda torch, kit: torch.nn.Sequential(kit.LogicDense(12, 6), kit.LogicDense(7, 7)),
        "module '1' (LogicDense): its input must have 7 features, not 6",
    ),
    "raw gates of four inputs": (
        lambda torch, kit: _broken(torch, kit, lut_rank=4),
        "raw weights must score the 16 gates of two inputs, not 16 functions of 4 inputs",
    ),
    "attribute missing": (
        lambda torch, kit: type("GroupSum", (torch.nn.Module,), {"forward": lambda self, x: x, "k": 2})(),
        "it must have the attribute 'tau' to be read as GroupSum",
    ),
    "numbers into logic": (
        lambda torch, kit: torch.nn.Sequential(kit.LogicDense(12, 6), kit.GroupSum(2), kit.LogicDense(2, 2)),
        "module '2' (LogicDense): it must be given bits, not float32 from '1.y'; put a binarisation in front of it",
    ),
    "groups that do not divide": (
        lambda torch, kit: torch.nn.Sequential(kit.LogicDense(12, 7), kit.GroupSum(2)),
        "module '1' (GroupSum): k must divide its 7 inputs, not 2",
    ),
    "wiring that depends on the position": (
        _moved_wiring,
        "its wiring must be the same at every position of the window",
    ),
    "batch axis flattened": (
        lambda torch, kit: torch.nn.Sequential(torch.nn.Flatten(0), kit.LogicDense(12, 6)),
        "module '0' (Flatten): start_dim must leave the batch axis alone",
    ),
    "unfitted thresholds": (
        lambda torch, kit: kit.FixedBinarization(None),
        "it must have thresholds; fit it to data before exporting",
    ),
    "thresholds that do not spread": (
        lambda torch, kit: kit.FixedBinarization(torch.rand(5, 2)),
        "thresholds must spread over samples of shape (12,), not have shape (5, 2)",
    ),
    "call without an exact reading": (
        lambda torch, kit: _Odd.make(torch, kit.LogicDense(12, 6), lambda self, x: self.layer(x).cumsum(1)),
        "module '(root)' (Odd), call .cumsum(): there is no exact reading of this call",
    ),
    "sum of bits": (
        lambda torch, kit: _Odd.make(torch, kit.LogicDense(12, 6), lambda self, x: self.layer(x) + self.layer(x)),
        "a sum of bits is no bit, except as a + b - a * b",
    ),
    "difference of bits": (
        lambda torch, kit: _Odd.make(torch, kit.LogicDense(12, 6), lambda self, x: self.layer(x) - self.layer(x)),
        "a difference must be 1 - a, or a + b - a * b",
    ),
    "forward that looks at the data": (
        lambda torch, kit: _Odd.make(torch, kit.LogicDense(12, 6), lambda self, x: self.layer(x) if x.sum() > 0 else x),
        "its forward must be traceable by torch.fx",
    ),
    "two inputs": (
        lambda torch, kit: _Odd.make(torch, kit.LogicDense(12, 6), lambda self, x, y: self.layer(x)),
        "forward must take one tensor, not also 'y'",
    ),
}


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.replace(" ", "-"))
def test_refusals_name_the_module_the_reason_and_what_to_do(torch, stand_ins, bits, case):
    make, text = REFUSALS[case]
    with pytest.raises(UnsupportedError, match=re.escape(text)) as caught:
        export(make(torch, stand_ins), bits)
    assert "; " in str(caught.value), "a refusal says what to do next"


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (
            np.zeros((2, 12), np.int64),
            "the sample must be one of bool, uint8, int8, int16, float32, float64, not int64",
        ),
        (
            np.zeros(12, np.float32),
            "the sample must be a batch (samples, ...) with at least one sample, not of shape (12,)",
        ),
        (np.zeros((0, 12), np.float32), "the sample must be a batch (samples, ...) with at least one sample"),
        (np.full((2, 12), 0.5, np.float32), "put a binarisation in front of it, or give a sample of only 0 and 1"),
    ],
)
def test_samples_that_cannot_be_used(torch, stand_ins, sample, text):
    with pytest.raises(InputError, match=re.escape(text)):
        export(_network(torch, stand_ins), sample)


def test_label_needs_scores(torch, stand_ins, bits):
    with pytest.raises(InputError, match="label=True must come with a module that ends in a group sum"):
        export(stand_ins.LogicDense(12, 6), bits, label=True)
