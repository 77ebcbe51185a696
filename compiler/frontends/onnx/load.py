"""From an ONNX model to a graph: the entry point of this frontend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.ir import Affine, Graph, Range
from neuroloom.compiler.ir.structured import clean_name
from neuroloom.compiler.real import Program
from onnx import ModelProto, helper

from . import build, floats, ops, spiking
from .importer import Importer, NarrowInput, Scope
from .inputs import Batch, InputRule, Resolved, declared, find_batch, numbers, on_grid, resolve
from .reader import Source, read_model, tensor_array
from .registry import Call
from .tensors import Const, Opaque, Sym, Tensor

__all__ = ["Prepared", "load_onnx", "ops", "prepare", "read_program"]


def load_onnx(
    source: Source,
    *,
    batch_axis: Mapping[str, int] | int | str | None = None,
    input_rules: Mapping[str, InputRule] | None = None,
    calibrate: Mapping[str, np.ndarray] | np.ndarray | None = None,
    name: str = "",
    expand: Iterable[tuple[str, str]] = (),
    config: Mapping[str, Any] | str | Path | None = None,
    quantise: bool | None = None,
    state: Mapping[str, str] | None = None,
) -> Graph:
    """Import an ONNX model as an unoptimised graph in which every source node can be probed.

    ``source`` is a path, the file's bytes, or a ModelProto. ``batch_axis``: None when every input's first dimension is
    symbolic; else an axis, an axis per input, or "none" for a model that is a single sample. ``input_rules`` says which
    integers stand for float inputs (and bounds of integer ones; the name "" means every input not named), ``calibrate`` gives
    samples to find that rule from, by input name, or one array for a model with one input. ``expand`` names (domain, operator)
    pairs that are to be imported through the function in the file even where this importer knows the operator.

    The graph's values are named after the source nodes; ``records["sources"]`` maps the source names whose value is called
    differently (nodes that change nothing share their input's value). ``records`` also keep the opset, producer, batch axes,
    calibration, and every remark about how a node was read.

    A model with a Scan over spiking operators of domain ``neuroloom`` gives a clocked graph (:mod:`.spiking`); it takes no options.

    A model that is exact in integers is taken as it is. A float model needs ``calibrate``: it becomes fixed point in formats
    calibrated on those samples, by the rules of ``config`` (mapping or YAML file, see :mod:`neuroloom.compiler.quantise.config`).
    ``quantise``: True always makes fixed point of it, as ``config`` does, False never does, None only of what is not exact.
    ``state`` maps inputs of a float model to the outputs that give their next values: the graph is then clocked, one call per step,
    and keeps them itself, 0 at first. Its samples, for calibration too, are [samples, steps, ...].

    Raises InputError for a broken file or option, UnsupportedError for a model that cannot be carried exactly.
    """
    model, folder, label = read_model(source)
    if spiking.is_clocked(model):
        if (
            batch_axis is not None
            or input_rules
            or calibrate is not None
            or config is not None
            or state
            or tuple(expand)
        ):
            raise InputError(
                f"{label} is a clocked model and says everything about its inputs itself; leave the options out"
            )
        return spiking.read_clocked(model, name)
    reader = _Reader(
        model, folder, label, batch_axis, dict(input_rules or {}), calibrate, frozenset(expand), name, state or ()
    )
    if config is not None or quantise or state:
        if calibrate is None:
            raise InputError("a network in fixed point must come with samples to calibrate with (--calibrate DATA.npz)")
        return _quantised(reader, config, state or {})
    try:
        return _exact(reader)
    except UnsupportedError as error:
        if quantise is False:
            raise
        if calibrate is None and not _is_quantised(model):
            raise _with_hint(error, reader) from None
        return _quantised(reader, None, {})


def _with_hint(error: UnsupportedError, reader: _Reader) -> UnsupportedError:
    """The refusal, and for a network that fixed point could carry how to get that."""
    from .real.importer import REAL

    known = {name for domain, name in REAL if not domain} | {"Constant"}
    floats = any(dtype.kind == "f" for dtype, _ in reader.inputs.values())
    carried = {n.op_type for n in reader.model.graph.node} <= known and not reader.model.functions
    if not floats or not carried or "calibrate" in str(error):
        return error
    return UnsupportedError(f"{error}; or carry it in fixed point, calibrated on samples: --calibrate DATA.npz")


def _is_quantised(model: ModelProto) -> bool:
    """Whether the model says its integers itself (QuantizeLinear and the like)."""
    from .real.quantised import EXACT

    return any(n.op_type in EXACT for part in (model.graph, *model.functions) for n in part.node)


def read_program(
    source: Source,
    *,
    batch_axis: Mapping[str, int] | int | str | None = None,
    input_rules: Mapping[str, InputRule] | None = None,
    state: Mapping[str, str] | None = None,
) -> Program:
    """The real program of a float model, without calibration: what its fixed-point graph is compared with."""
    from .real import load_program

    model, folder, label = read_model(source)
    rules = dict(input_rules or {})
    return load_program(_Reader(model, folder, label, batch_axis, rules, None, frozenset(), "", state or ()), state)


@dataclass
class Prepared:
    """A float model ready to be quantised again and again: its program, the calibration samples, and what they showed."""

    program: Program
    samples: dict[str, np.ndarray]
    grids: dict[str, Any]
    observed: dict[str, Any] | None = None

    def graph(self, config: Any) -> Graph:
        """The fixed-point graph by a configuration."""
        from neuroloom.compiler.quantise import Config, quantise
        from neuroloom.compiler.quantise.observe import observe

        if self.observed is None and self.samples:
            self.observed = observe(self.program, self.samples, histograms=True)
        return quantise(self.program, self.samples or None, Config.read(config), self.grids, self.observed)


def prepare(
    source: Source,
    *,
    calibrate: Mapping[str, np.ndarray] | np.ndarray,
    batch_axis: Mapping[str, int] | int | str | None = None,
    input_rules: Mapping[str, InputRule] | None = None,
    state: Mapping[str, str] | None = None,
) -> Prepared:
    """A float model with its calibration samples, for a search over configurations; options as of :func:`load_onnx`."""
    model, folder, label = read_model(source)
    rules = dict(input_rules or {})
    reader = _Reader(model, folder, label, batch_axis, rules, calibrate, frozenset(), "", state or ())
    return _prepared(reader, state or {})


def _prepared(reader: _Reader, state: Mapping[str, str]) -> Prepared:
    from neuroloom.compiler.quantise import Grid
    from neuroloom.compiler.quantise.quantise import check_samples

    from .real import load_program

    program = load_program(reader, state)
    given = {clean_name(name): array for name, array in reader.data.items()}
    if not given:
        return Prepared(program, {}, {})
    check_samples(program, given)
    grids: dict[str, Any] = {}
    for name, (dtype, _) in reader.inputs.items():
        if dtype.kind != "f" or name in reader.memory:
            continue
        if rule := reader.rules.get(name) or on_grid(reader.data[name], dtype):
            grids[clean_name(name)] = Grid(*numbers(name, rule))
    return Prepared(program, given, grids)


def _quantised(reader: _Reader, config: Mapping[str, Any] | str | Path | None, state: Mapping[str, str]) -> Graph:
    """A float model in fixed point."""
    from neuroloom.compiler.quantise import Config, quantise

    ready = _prepared(reader, state)
    return quantise(ready.program, ready.samples or None, Config.read(config), ready.grids)


def _exact(reader: _Reader) -> Graph:
    """A model whose every operation is exact in integers."""
    narrow: dict[str, Range] = {}
    while True:
        try:
            return reader.graph(narrow)
        except NarrowInput as e:
            if narrow.get(e.name) == e.bounds:
                raise UnsupportedError(f"{e}, but it is not; give bounds for that input") from None
            low, high = narrow.get(e.name, e.bounds)
            narrow[e.name] = max(low, e.bounds[0]), min(high, e.bounds[1])
            reader.narrowed.append(f"{e}, so the input is bounded to it")


class _Reader:
    """A parsed model with everything that does not change when bounds of inputs are narrowed."""

    def __init__(
        self,
        model: ModelProto,
        folder: Path | None,
        label: str,
        batch_axis: Mapping[str, int] | int | str | None,
        rules: dict[str, InputRule],
        calibrate: Mapping[str, np.ndarray] | np.ndarray | None,
        expand: frozenset[tuple[str, str]],
        name: str,
        memory: Iterable[str] = (),
    ) -> None:
        self.memory = frozenset(memory)
        self.model, self.folder, self.label = model, folder, label
        self.rules, self.expand = rules, expand
        self.name = name or model.graph.name or "model"
        self.narrowed: list[str] = []
        self.constants: dict[str, Tensor] = {
            t.name: Const(tensor_array(t, folder, "initializer")) for t in model.graph.initializer
        }
        if model.graph.sparse_initializer:
            raise UnsupportedError("sparse initializers are not supported; store them as dense tensors")
        self.inputs: dict[str, tuple[np.dtype, list[int | str | None]]] = {}
        for info in model.graph.input:
            if info.name in self.constants:
                continue  # older files list every initializer as an input
            dtype, dims = declared(info, "input")
            if dims is None:
                raise UnsupportedError(f"input {info.name!r} must have a shape; export the model with one")
            if info.name in self.inputs:
                raise InputError(f"input {info.name!r} must be declared once")
            self.inputs[info.name] = (dtype, dims)
        if not self.inputs:
            raise UnsupportedError(f"{label} must have an input; all of it is constant")
        self.batch: Batch = find_batch({n: d for n, (_, d) in self.inputs.items()}, batch_axis)
        if "" in self.rules:
            everywhere = self.rules.pop("")
            self.rules = {**{name: everywhere for name in self.inputs}, **self.rules}
        self.data = self._calibration(calibrate)
        for given, what in ((self.rules, "rule"), (self.data, "calibration data")):
            for key in given:
                if key not in self.inputs:
                    raise InputError(f"{what} must name one of the inputs {', '.join(self.inputs)}, not {key!r}")

    def _calibration(self, given: Mapping[str, np.ndarray] | np.ndarray | None) -> dict[str, np.ndarray]:
        if given is None:
            return {}
        if isinstance(given, Mapping):
            # y are class numbers by convention (host/arrays.py), unless an input is called so
            return {k: np.asarray(v) for k, v in given.items() if k != "y" or "y" in self.inputs}
        names = [name for name in self.inputs if name not in self.memory]
        if len(names) != 1:
            raise InputError(f"calibration data must be given by input name, because there are {len(names)} inputs")
        return {names[0]: np.asarray(given)}

    def graph(self, narrow: Mapping[str, Range]) -> Graph:
        """Import with ``narrow`` bounds for some inputs."""
        records: dict[str, Any] = {}
        importer = Importer(
            self.name,
            self.model.functions,
            batch=any(a is not None for a in self.batch.axes.values()),
            batch_size=self.batch.size,
            expand=self.expand,
            folder=self.folder,
        )
        opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in self.model.opset_import}
        scope = Scope(dict(self.constants), opsets)
        for key, (dtype, dims) in self.inputs.items():
            resolved = resolve(
                key,
                dtype,
                dims,
                self.batch.axes[key],
                self.rules.get(key),
                self.data.get(key),
                narrow.get(key),
                records,
            )
            scope.tensors[key] = _input(importer, resolved)
        outputs = [declared(o, "output") + (o.name,) for o in self.model.graph.output]
        if not outputs:
            raise InputError(f"{self.label} must have an output")
        importer.run(self.model.graph.node, scope, [n for _, _, n in outputs])
        places = {n: a for n, a in self.batch.axes.items() if a}
        for dtype, shape, output in outputs:
            sym = self._shown(importer, scope.tensors[output], output, dtype, shape)
            importer.builder.output(output, *_output(importer, sym, output))
            if sym.batch:
                places[output] = sym.batch
        graph = importer.builder.finish()
        records |= {"source": "onnx", "opset": opsets.get("", 0)}
        if self.model.producer_name:
            records["producer"] = f"{self.model.producer_name} {self.model.producer_version}".strip()
        if places:
            records["batch_axes"] = places
        if not importer.batch:
            records["batch"] = "none"
        if importer.notes or self.narrowed:
            records["notes"] = self.narrowed + list(importer.notes)
        if importer.sources:
            records["sources"] = importer.sources
        graph.records.update(records)
        return graph

    def _shown(
        self, importer: Importer, tensor: Tensor, name: str, dtype: np.dtype, dims: list[int | str | None] | None
    ) -> Sym:
        where = f"output {name!r}"
        if isinstance(tensor, Opaque):
            raise UnsupportedError(f"{where}: {tensor.reason}")
        if isinstance(tensor, Const):
            if importer.batch or tensor.symbolic:
                raise UnsupportedError(f"{where} does not depend on any input, so it has no batch axis; drop it")
            importer.source = name
            if tensor.array.dtype.kind == "f" or tensor.array.dtype.kind not in "bui":
                raise UnsupportedError(f"{where} is a constant {tensor.array.dtype}; drop it")
            data = tensor.array
            tensor = Sym(importer.constant(data, part="value"), data.dtype, data.shape, None)
        if tensor.order_of:
            raise UnsupportedError(
                f"{where} comes from {tensor.order_of}, which has no exact integer form; show its input, or the ArgMax of it"
            )
        if importer.batch and tensor.batch is None:
            raise UnsupportedError(f"{where} has no batch axis; every output must be computed per sample")
        if tensor.dtype != dtype:
            raise InputError(f"{where} must have its declared element type {dtype}, but the nodes give {tensor.dtype}")
        shape = tensor.full_shape(self.batch.size)
        if dims is not None and (
            len(dims) != len(shape)
            or any(isinstance(d, int) and isinstance(s, int) and d != s for d, s in zip(dims, shape, strict=True))
        ):
            text = ", ".join("?" if d is None else str(d) for d in dims)
            raise InputError(f"{where} must have its declared shape [{text}], but the nodes give {shape}")
        return tensor


def _input(importer: Importer, r: Resolved) -> Sym:
    name = importer.builder.input(r.name, r.type, r.shape, affine=r.affine, bounds=r.bounds, source=r.name)
    return Sym(name, r.dtype, r.shape, r.batch, r.steps, origin=r.name if r.dtype.kind == "u" else None)


def _output(importer: Importer, sym: Sym, name: str) -> tuple[str, Affine]:
    """The value shown and what its integers mean: the exact rule, without the float type's rounding."""
    if not sym.is_float:
        return sym.name, Affine()
    scale, offset = floats.affine(sym.steps)
    rule = _affine(sym.shape, scale, offset)
    if rule is not None:
        return sym.name, rule
    # elements of different scales, or constant ones: integers on one grid when the floats are exact
    importer.source = name
    call = Call(importer, helper.make_node("Identity", [sym.name], [name]), [sym], name, 13)
    found = build.grid(call, [sym], sym.dtype)
    if found is None:
        raise UnsupportedError(
            f"output {name!r} has rounded elements of different scale or offset along several axes; use one per channel, "
            "or show it before it is scaled"
        )
    (value,), unit = found
    return value, Affine.of(unit)


def _affine(shape: tuple[int, ...], scale: np.ndarray, offset: np.ndarray) -> Affine | None:
    """One rule for the tensor or one per index of an axis; None when neither can say it."""
    if 0 in scale.reshape(-1).tolist():
        return None
    if scale.ndim == 0 and offset.ndim == 0:
        return Affine.of(scale.item(), offset.item())
    scales, offsets = (np.broadcast_to(v, shape) for v in (scale, offset))
    for axis, size in enumerate(shape):
        pick = tuple(slice(None) if i == axis else slice(0, 1) for i in range(len(shape)))
        if (scales == scales[pick]).all() and (offsets == offsets[pick]).all():
            return Affine.of(scales[pick].reshape(size).tolist(), offsets[pick].reshape(size).tolist(), axis)
    return None
