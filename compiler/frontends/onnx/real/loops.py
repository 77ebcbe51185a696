"""Loop and Scan with a static number of steps."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym, Tensor
from onnx import GraphProto

from .control import as_value, subgraph
from .importer import constant, emit, importer_of, operator, result

MAX_STEPS = 1 << 20
"""Most steps of a loop."""


def _front(call: Call, x: Sym, axis: int) -> tuple[str, int, int | None]:
    """A sequence with its steps on the first per-sample axis; its length, and the batch axis of an element."""
    at = call.axis(axis, x.rank)
    if at == x.batch:
        call.refuse("the steps must not run over the batch axis", "give another --batch-axis")
    inner = at - (x.batch is not None and at > x.batch)
    batch = None if x.batch is None else x.batch - (at < x.batch)
    order = (inner, *(i for i in range(len(x.shape)) if i != inner))
    name = x.name if inner == 0 else emit(call, "transpose", [x.name], "steps_first", perm=order)
    return name, x.shape[inner], batch


def _per_sample(call: Call, t: Tensor | None, batch: int | None, rank: int | None = None) -> Sym:
    """An initial value as a value of the program: constants are the same for every sample."""
    assert t is not None
    if isinstance(t, Sym):
        return t
    if not isinstance(t, Const):
        call.refuse(t.reason)
    data = build.sample_constant(call, t.array, t.rank, batch) if batch is not None and t.rank == rank else t.array
    return result(call, constant(call, data, "initial"), t.dtype, batch if t.rank == rank else None)


class _Body:
    """The loop's graph, imported inside the region; how its results look is known when it has run."""

    def __init__(self, call: Call, graph: GraphProto, initial: list[Sym]) -> None:
        self.call, self.graph, self.initial = call, graph, initial
        self.results: list[Sym] = []

    def run(self, given: list[Tensor]) -> list[Sym]:
        names = [i.name for i in self.graph.input]
        if len(names) != len(given):
            self.call.bad(f"its body must have {len(given)} inputs, not {len(names)}")
        tensors = importer_of(self.call).body(self.call, self.graph, dict(zip(names, given, strict=True)))
        return [as_value(self.call, t, None) for t in tensors]


@operator("Scan")
def scan(call: Call) -> list[Tensor]:
    """Carried states and sequences by axis and direction, outputs stacked by axis and direction."""
    if call.version < 9:
        call.refuse("the Scan of operator set 8 is not supported", "convert the model with onnx.version_converter")
    body, count = subgraph(call, "body"), call.integer("num_scan_inputs")
    carry = len(call.inputs) - count
    outputs = len(body.output) - carry
    if count < 1 or carry < 0 or outputs < 0:
        call.bad(f"num_scan_inputs must be 1 to {len(call.inputs)}, not {count}")
    axes = call.ints("scan_input_axes") or [0] * count
    backwards = call.ints("scan_input_directions") or [0] * count
    out_axes = call.ints("scan_output_axes") or [0] * outputs
    out_backwards = call.ints("scan_output_directions") or [0] * outputs
    if [len(axes), len(backwards), len(out_axes), len(out_backwards)] != [count, count, outputs, outputs]:
        call.bad("axes and directions must be given for every scanned input and output")
    sequences, lengths, element_batches, dtypes = [], set(), [], []
    for number, axis in enumerate(axes):
        x = call.sym(carry + number)
        name, length, batch = _front(call, x, axis)
        sequences.append(name)
        lengths.add(length)
        element_batches.append(batch)
        dtypes.append(x.dtype)
    if len(lengths) != 1:
        call.bad(f"the scanned inputs must have as many steps, not {sorted(lengths)}")
    batch = next((b for b in element_batches if b is not None), None)
    initial = [
        _per_sample(call, call.inputs[i], 0 if batch is not None else None, _rank(body, i)) for i in range(carry)
    ]
    results: list[Sym] = []

    def step(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        given: list[Tensor] = [result(call, n, s.dtype, s.batch) for n, s in zip(carried, initial, strict=True)]
        given += [result(call, n, d, b) for n, d, b in zip(elements, dtypes, element_batches, strict=True)]
        results.extend(_Body(call, body, initial).run(given))
        return [r.name for r in results[:carry]], [r.name for r in results[carry:]]

    names = call.importer.builder.scan(
        lengths.pop(),
        [s.name for s in initial],
        sequences,
        step,
        reverse=(*backwards, *out_backwards),
        name=call.source,
        source=call.source,
        names=[f"{call.source}.{i.name}" for i in body.input[:carry]],
    )
    return _results(call, names, results, carry, out_axes)


def _rank(body: GraphProto, number: int) -> int | None:
    info = body.input[number].type.tensor_type
    return len(info.shape.dim) if info.HasField("shape") else None


def _results(call: Call, names: list[str], results: list[Sym], carry: int, axes: list[int]) -> list[Tensor]:
    """Final values as they are, stacked outputs with the steps on their axis."""
    out: list[Tensor] = [result(call, n, r.dtype, r.batch) for n, r in zip(names[:carry], results, strict=False)]
    for name, r, axis in zip(names[carry:], results[carry:], axes, strict=True):
        at = call.axis(axis, r.rank + 1, "scan_output_axes")
        batch = None if r.batch is None else r.batch + (at <= r.batch)
        inner = at - (batch is not None and at > batch)
        if inner:
            order = [*range(1, inner + 1), 0, *range(inner + 1, len(r.shape) + 1)]
            name = emit(call, "transpose", [name], "stacked", perm=tuple(order))
        out.append(result(call, name, r.dtype, batch))
    return out


@operator("Loop")
def loop(call: Call) -> list[Tensor]:
    """A constant number of steps; a computed condition makes the rest of the steps keep the values."""
    body = subgraph(call, "body")
    trips = call.inputs[0] if call.has(0) else None
    if not isinstance(trips, Const):
        call.refuse("the number of steps must be constant", "give M as a constant: hardware needs a bound")
    count = int(trips.array.reshape(-1)[0])
    if not 1 <= count <= MAX_STEPS:
        call.refuse(f"the number of steps must be 1 to {MAX_STEPS}, not {count}")
    start = call.inputs[1] if call.has(1) else None
    if start is not None and not (isinstance(start, Const) and bool(start.array.reshape(-1)[0])):
        call.refuse("the condition must be true at first", "put the loop into an If")
    carry = len(call.inputs) - 2
    outputs = len(body.output) - 1 - carry
    batch = next((t.batch for t in call.inputs if isinstance(t, Sym) and t.batch is not None), None)
    initial = [_per_sample(call, call.inputs[i + 2], batch, _rank(body, i + 2)) for i in range(carry)]
    results: list[Sym] = []
    conditional = _condition_is_computed(call, body)
    builder = call.importer.builder
    first = [s.name for s in initial]
    if conditional:
        if outputs:
            call.refuse("a computed condition gives scanned outputs of a length that depends on the data", "drop them")
        first.append(builder.const(np.array(1), kind="bit", name=f"{call.source}.running", source=call.source))

    def step(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        number = emit(call, "step", [], "number", count=count)
        true = Const(np.array(True))
        given: list[Tensor] = [result(call, number, np.dtype(np.int64), None), true]
        given += [result(call, n, s.dtype, s.batch) for n, s in zip(carried, initial, strict=False)]
        cond, *rest = _Body(call, body, initial).run(given)
        results.extend(rest)
        new = [r.name for r in rest[:carry]]
        if conditional:
            running = carried[-1]
            new = [emit(call, "select", [running, n, o], "kept") for n, o in zip(new, carried, strict=False)]
            decided = emit(call, "reshape", [cond.name], "decided", shape=())
            new.append(emit(call, "logic", [running, decided], "running", kind="and"))
        return new, [r.name for r in rest[carry:]]

    hints = [f"{call.source}.{i.name}" for i in body.input[2:]]
    names = builder.scan(count, first, [], step, name=call.source, source=call.source, names=hints)
    if conditional:
        names = names[:carry]
    return _results(call, names, results, carry, [0] * outputs)


def _condition_is_computed(call: Call, body: GraphProto) -> bool:
    """Whether the body computes a condition, rather than handing on the true one it gets or a constant."""
    name, given = body.output[0].name, body.input[1].name
    makers = {o: n for n in body.node for o in n.output}
    while name in makers and makers[name].op_type in ("Identity", "Cast"):
        name = makers[name].input[0]
    if name == given:
        return False
    if name in makers and makers[name].op_type == "Constant":
        return False
    return name in makers
