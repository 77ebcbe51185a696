"""Bad ONNX models, each beside the one sentence that it must get.

``NAME.onnxtxt`` is a model in ONNX's text form, ``NAME.txt`` the message. Files that cannot be written as text are made below.
Run with NEUROLOOM_UPDATE_GOLDEN=1 to write the messages of new cases, then read them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.frontends.onnx import load_onnx
from onnx import TensorProto, helper, numpy_helper, parser

HERE = Path(__file__).parent
TEXTS = sorted(p.stem for p in HERE.glob("*.onnxtxt"))


def _check(name: str, message: str) -> None:
    golden = HERE / f"{name}.txt"
    if os.environ.get("NEUROLOOM_UPDATE_GOLDEN") == "1":
        golden.write_text(message + "\n")
    assert message == golden.read_text().rstrip("\n")
    assert "\n" not in message and "Traceback" not in message


@pytest.mark.parametrize("name", TEXTS)
def test_message(name: str) -> None:
    model = parser.parse_model((HERE / f"{name}.onnxtxt").read_text())
    with pytest.raises(InputError) as caught:
        load_onnx(model)
    _check(name, str(caught.value))


def _model(constant: TensorProto | None = None) -> onnx.ModelProto:
    """y = x AND c."""
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> m (bool[N,4] x) => (bool[N,4] y) { y = And (x, c) }'
    )
    model.graph.initializer.append(constant or numpy_helper.from_array(np.ones(4, bool), "c"))
    return model


def _changed(**fields: object) -> onnx.ModelProto:
    tensor = numpy_helper.from_array(np.ones(4, bool), "c")
    for key, value in fields.items():
        if key == "dims":
            del tensor.dims[:]
            tensor.dims.extend(value)  # type: ignore[arg-type]
        else:
            setattr(tensor, key, value)
    return _model(tensor)


def _external(location: str, **more: str) -> onnx.ModelProto:
    tensor = TensorProto(name="c", data_type=TensorProto.BOOL, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return _model(tensor)


def _nan() -> onnx.ModelProto:
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> m (uint8[N,4] x) => (bool[N,4] y) '
        "{ r = Cast <to = 1> (x) y = Greater (r, c) }"
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 2, np.nan, 3], np.float32), "c"))
    return model


def _sequence() -> onnx.ModelProto:
    model = _model()
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", TensorProto.BOOL, [4]))
    return model


def _no_shape() -> onnx.ModelProto:
    model = _model()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


def _no_opset() -> onnx.ModelProto:
    model = _model()
    del model.opset_import[:]
    return model


BYTES: dict[str, Callable[[], bytes | onnx.ModelProto]] = {
    "truncated": lambda: _model().SerializeToString()[:-9],
    "not_onnx": lambda: b"P5 28 28 255 " + bytes(range(200)),
    "empty_file": lambda: b"",
    "text_file": lambda: b"hello, I am not a model\n",
    "tensor_too_short": lambda: _changed(raw_data=b"\x01\x01"),
    "tensor_negative_dimension": lambda: _changed(dims=[-4]),
    "tensor_two_gigabytes": lambda: _changed(dims=[1 << 33]),
    "tensor_unknown_type": lambda: _changed(data_type=99),
    "tensor_of_strings": lambda: _changed(data_type=TensorProto.STRING),
    "nan_constant": _nan,
    "external_without_folder": lambda: _external("weights.bin"),
    "sequence_input": _sequence,
    "input_without_shape": _no_shape,
    "no_operator_sets": _no_opset,
}


@pytest.mark.parametrize("name", BYTES)
def test_message_of_a_broken_file(name: str) -> None:
    with pytest.raises(InputError) as caught:
        load_onnx(BYTES[name]())
    _check(name, str(caught.value))


EXTERNAL = {
    "external_missing": {"location": "weights.bin"},
    "external_outside": {"location": "../weights.bin"},
    "external_absolute": {"location": "/etc/hostname"},
    "external_link": {"location": "link.bin"},
    "external_short": {"location": "short.bin"},
    "external_bad_offset": {"location": "short.bin", "offset": "x"},
    "external_wrong_length": {"location": "short.bin", "length": "2"},
}


@pytest.mark.parametrize("name", EXTERNAL)
def test_message_of_external_data(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(b"\x01" * 4)
    (folder / "short.bin").write_bytes(b"\x01")
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    path = folder / "m.onnx"
    path.write_bytes(_external(**EXTERNAL[name]).SerializeToString())  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        load_onnx(path)
    _check(name, str(caught.value))


def test_external_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\xff\xff\x01\x00\x01\x01")
    path = tmp_path / "m.onnx"
    path.write_bytes(_external("weights.bin", offset="2", length="4").SerializeToString())
    graph = load_onnx(str(path))
    assert [n.attrs["data"].tolist() for n in graph.nodes if n.op == "const"] == [[1, 0, 1, 1]]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.onnx cannot be read: No such file or directory"):
        load_onnx(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_onnx(tmp_path)


def test_every_prefix_of_a_file_gives_a_sentence() -> None:
    """Truncation anywhere: an error of ours or a smaller model, never another exception."""
    data = _model().SerializeToString()
    for length in range(len(data)):
        try:
            load_onnx(data[:length])
        except InputError as error:
            assert "\n" not in str(error)


def test_flipped_bits_give_a_sentence() -> None:
    """Random damage: an error of ours or a model, never another exception."""
    rng = np.random.default_rng(0)
    texts = [
        (HERE / f"{n}.onnxtxt").read_text()
        for n in ("lookup_index_out_of_range", "tree_with_wrong_leaves", "huge_range")
    ]
    sound = [parser.parse_model(t).SerializeToString() for t in texts] + [_model().SerializeToString()]
    for number in range(400):
        data = bytearray(sound[number % len(sound)])
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        try:
            load_onnx(bytes(data))
        except InputError as error:
            assert str(error)
