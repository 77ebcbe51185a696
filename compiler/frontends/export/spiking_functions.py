"""Spiking networks in ONNX: the operators of domain ``neuroloom`` that stand for the graph's clocked operations.

A file holds one ``Scan`` over time whose body has one node per operation of the graph. The definition of every operation is that of
:mod:`neuroloom.compiler.ir.ops` (``docs/spiking.md``); the functions here say the same in standard operators, so that a runtime
that knows nothing of spiking networks runs the file. Inside the body all tensors are int64 with the batch axis first.

Attributes have the names and values of the graph's, except: choices are codes, counted from 0 in the order of :data:`CHOICES`; true
and false are 1 and 0; an attribute that is absent in the graph is absent in the file. Added are the widths of saturating types
(``width``, ``count_bits``, ``step_bits``), which in the graph are those of the states.

==============  ===========================================================================================================
operator        inputs → outputs
==============  ===========================================================================================================
``Quantity``    X → Y int64: the same integers. ``type`` of the graph, ``low`` and ``high`` (bounds), and what the integers mean:
                real = ``scale`` · q + ``offset``, rational texts, with ``axis`` one per index
``Fill``        X [N, ...], → Y [N, \\*data.shape]: the tensor ``data`` for every sample of X; ``type``
``State``       S → Y: the state as the Scan hands it in; ``type``, ``lifetime``
``Update``      Y → S: what the Scan hands on to the next step
``Synapses``    H [N, D+1, n_pre] → currents [N, n_post]
``Lif``         current, v, i, r, a → spikes, v', i', r', a', recorded; a state that the options do not have is given v again and
                its output means nothing
``Izhikevich``  current, v, u → spikes, v', u', recorded
``AlphaNeuron`` current, v, e, h → spikes, v', e', h', recorded
``Bernoulli``   current, x → spikes, x', recorded
``Decide``      spikes, counts, done, winner, at, now → counts', done', winner', at', now'
``Reshape``     X → the same elements under ``shape``, without the batch axis
``Slice``       X → X[start:stop:step] on every axis behind the batch axis
``Shift``       X → X · 2\\*\\*\\ ``amount``
==============  ===========================================================================================================

``Concat`` (axis counted with the batch axis) and ``Add`` are ONNX's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from neuroloom.compiler.ir.ops.neurons import CARRY_BITS, CARRY_FACTOR, CARRY_SCALE, IZHIKEVICH_BOUND
from neuroloom.compiler.ir.ops.spiking import DECISIONS, LEAKS, RECORDS, RESET_MODES, RESETS, ROUNDINGS

from .functions import NL_DOMAIN, OPSET
from .spiking_bodies import Body

CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("lif", "leak"): LEAKS,
    ("lif", "reset"): RESETS,
    ("lif", "reset_mode"): RESET_MODES,
    ("lif", "rounding"): ROUNDINGS,
    ("lif", "record"): RECORDS,
    ("izhikevich", "rounding"): ROUNDINGS,
    ("alpha_neuron", "rounding"): ROUNDINGS,
    ("alpha_neuron", "reset"): ("zero", "subtract", "none"),
    ("decide", "mode"): DECISIONS,
}
"""(operation, attribute) → what its codes 0, 1, ... mean."""

STANDARD = {"add": "Add", "concat": "Concat"}
"""Operations that are ONNX's own operators."""

PREFIX = "step/"
"""In front of every name inside the Scan's body, which must not use those around it."""

RECORDS_KEY = "neuroloom.records"
"""Key of the graph's records, as JSON, in the model's metadata."""

SOURCE = "source"
"""Key of a node's source name in its metadata."""

_NONE = 1 << 62
"""Default of an integer attribute whose every sensible value means something: absent."""

_ZERO = np.zeros((), np.int64)


@dataclass(frozen=True)
class Operator:
    """How an operation of the graph stands in a file.

    ``attributes`` are the function's, None for those that every node gives, else the default. ``body`` writes the function.
    ``widths``: extra attributes and the output whose type's width they hold. ``optional``: states that exist only with an
    attribute.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    body: Callable[[Body], None]
    widths: dict[str, int] = field(default_factory=dict)
    optional: dict[str, str] = field(default_factory=dict)

    def has(self, slot: str, attributes: Mapping[str, Any]) -> bool:
        """Whether the input ``slot`` exists with these attributes of the graph."""
        needed = self.optional.get(slot)
        if needed is None:
            return True
        return bool(attributes.get(needed)) if needed == "refractory" else needed in attributes


OPERATORS: dict[str, Operator] = {}
"""By operation of the graph."""


def _operator(op: str, name: str, inputs: str, outputs: str, **options: Any) -> Callable[..., Callable[[Body], None]]:
    attributes = {**dict.fromkeys(options.pop("required", "").split()), **options.pop("defaults", {})}

    def register(body: Callable[[Body], None]) -> Callable[[Body], None]:
        OPERATORS[op] = Operator(op, name, tuple(inputs.split()), tuple(outputs.split()), attributes, body, **options)
        return body

    return register


def spiking_function(name: str) -> onnx.FunctionProto:
    """The function of the operator ``name`` of domain ``neuroloom``; KeyError when there is none."""
    operator = next((o for o in OPERATORS.values() if o.name == name), None)
    if operator is None:
        raise KeyError(name)
    body = Body(NL_DOMAIN, name, operator.inputs, operator.outputs, operator.attributes)
    operator.body(body)
    return body.proto(OPSET)


@_operator(
    "quantity",
    "Quantity",
    "X",
    "Y",
    required="type",
    defaults={"low": 0, "high": 0, "scale": "1", "offset": "0", "axis": 0},
)
def _quantity(b: Body) -> None:
    b.op("Cast", "X", to="Y", to_type=onnx.TensorProto.INT64)


@_operator("const", "Fill", "X", "Y", required="data type")
def _fill(b: Body) -> None:
    data = b.tensor("data")
    shape = b.op("Concat", b.op("Shape", "X", start=0, end=1), b.op("Shape", data), axis=0)
    b.op("Expand", data, shape, to="Y")


@_operator("state", "State", "S", "Y", required="type lifetime")
def _state(b: Body) -> None:
    b.out("Y", "S")


@_operator("update", "Update", "Y", "S")
def _update(b: Body) -> None:
    b.out("S", "Y")


@_operator("reshape", "Reshape", "X", "Y", required="shape")
def _reshape(b: Body) -> None:
    shape = b.op("Concat", b.op("Shape", "X", start=0, end=1), b.list("shape"), axis=0)
    b.op("Reshape", "X", shape, to="Y")


@_operator("slice", "Slice", "X", "Y", required="starts stops steps")
def _slice(b: Body) -> None:
    starts, stops, steps = b.list("starts"), b.list("stops"), b.list("steps")
    count = b.op("Squeeze", b.op("Shape", starts))
    axes = b.op("Range", b.const(1), b.add(count, b.const(1)), b.const(1))
    b.op("Slice", "X", starts, stops, axes, steps, to="Y")


@_operator("shift", "Shift", "X", "Y", required="amount")
def _shift(b: Body) -> None:
    b.op("Mul", "X", b.power(b.scalar("amount")), to="Y")


@_operator("synapses", "Synapses", "H", "current", required="pre post delay n_post weights")
def _synapses(b: Body) -> None:
    batch, sources = b.op("Shape", "H", start=0, end=1), b.op("Squeeze", b.op("Shape", "H", start=2, end=3))
    flat = b.op("Reshape", "H", b.op("Concat", batch, b.const([-1]), axis=0))
    index = b.add(b.times(b.tensor("delay"), sources), b.tensor("pre"))
    weighted = b.times(b.op("Gather", flat, index, axis=1), b.tensor("weights"))
    targets = b.op("Expand", b.tensor("post"), b.op("Shape", weighted))
    shape = b.op("Concat", batch, b.op("Unsqueeze", b.scalar("n_post"), b.const([0])), axis=0)
    b.op("ScatterElements", b.op("Expand", b.const(0), shape), targets, weighted, to="current", axis=1, reduction="add")


_LIF_DEFAULTS = {
    "beta": 65536,
    "decay": 0,
    "alpha": _NONE,
    "bias": _ZERO,
    "drive": _ZERO,
    "v_reset": 0,
    "refractory": 0,
    "refractory_v": _NONE,
    "integrates": 0,
    "adapt_decay": _NONE,
    "adapt_step": 0,
    "wta": 0,
    "rounding": 0,
    "old_current": 0,
    "record": 0,
}


@_operator(
    "lif",
    "Lif",
    "current v i r a",
    "spikes v_next i_next r_next a_next recorded",
    required="threshold leak strict reset reset_mode width",
    defaults=_LIF_DEFAULTS,
    widths={"width": 1},
    optional={"i": "alpha", "r": "refractory", "a": "adapt_decay"},
)
def _lif(b: Body) -> None:
    """The lines of the operation's definition, by their numbers."""
    sat = b.saturating(b.scalar("width"))
    zero, one16, rounding = b.const(0), b.const(65536), b.scalar("rounding")
    reset, mode, v_reset = b.scalar("reset"), b.scalar("reset_mode"), b.scalar("v_reset")
    alpha, adapt_decay, refractory = b.scalar("alpha"), b.scalar("adapt_decay"), b.scalar("refractory")
    filters, adapts = b.no(b.is_(alpha, _NONE)), b.no(b.is_(adapt_decay, _NONE))
    # absent factors count as 0, so that the branch not taken stays inside 64 bits
    alpha, adapt_decay = b.where(filters, alpha, zero), b.where(adapts, adapt_decay, zero)
    immediate = b.is_(mode, 0)
    late = b.either(b.is_(mode, 1), b.is_(mode, 2))
    undelayed = b.either(b.is_(mode, 3), b.is_(mode, 4))
    clears_old = b.either(b.is_(mode, 1), b.is_(mode, 3))
    clears_new = b.either(b.is_(mode, 2), b.is_(mode, 4))
    resets = b.either(b.is_(reset, 0), b.is_(reset, 1))
    subtracts = b.is_(reset, 2)
    strict = b.is_(b.scalar("strict"), 1)

    def mul(x: str, factor: str) -> str:
        return b.rounded(b.times(x, factor), one16, rounding)

    theta = sat(b.add(b.tensor("threshold"), b.where(adapts, "a", zero)))  # 1

    def above(x: str) -> str:
        greater = b.op("Greater", x, theta)
        return b.either(greater, b.both(b.op("Equal", x, theta), b.no(strict)))

    c = sat(b.add("current", b.tensor("bias")))  # 2
    new_i = sat(b.add(mul("i", alpha), c))  # 3
    c = b.where(filters, b.where(b.is_(b.scalar("old_current"), 1), "i", new_i), c)
    was_above = b.both(above("v"), b.no(immediate))  # 4
    x = b.where(b.both(was_above, resets, clears_old), v_reset, "v")  # 5
    leak, decay = b.scalar("leak"), b.scalar("decay")
    toward = b.sub(x, b.most(b.least(x, decay), b.op("Neg", decay)))
    x = b.where(b.is_(leak, 1), mul(x, b.scalar("beta")), b.where(b.is_(leak, 2), toward, x))  # 6
    x = sat(b.add(sat(b.add(x, c)), b.tensor("drive")))  # 7
    late_value = b.where(subtracts, sat(b.sub(x, theta)), b.where(b.both(resets, clears_new), v_reset, x))
    x = b.where(was_above, late_value, x)  # 8
    counting = b.both(b.over("r", 0), b.over(refractory, 0))
    spike = b.both(above(x), b.no(counting))  # 9
    down = sat(b.sub(x, theta))
    spike = b.choose(b.is_(b.scalar("wta"), 1), b.winner(spike, down), spike)
    after = b.where(resets, v_reset, b.where(subtracts, down, x))  # 10
    undone = b.where(resets, sat(b.sub(sat(b.add(x, x)), v_reset)), b.where(subtracts, sat(b.add(x, theta)), x))
    acts = b.both(spike, b.either(immediate, b.both(undelayed, b.no(was_above))))
    undoes = b.both(was_above, undelayed, b.no(spike))
    new_v = b.where(acts, after, b.where(undoes, undone, x))
    refractory_v = b.scalar("refractory_v")
    late_held = b.where(resets, v_reset, b.where(subtracts, sat(b.sub("v", theta)), "v"))
    held = b.where(b.both(was_above, late), late_held, "v")
    held = b.where(b.is_(refractory_v, _NONE), held, refractory_v)
    holds = b.both(counting, b.no(b.is_(b.scalar("integrates"), 1)))
    new_v = b.where(holds, held, new_v)
    b.out("spikes", b.integer(spike))
    b.out("v_next", new_v)
    b.out("i_next", new_i)
    b.out("r_next", b.where(spike, refractory, b.most(b.sub("r", b.const(1)), zero)))  # 11
    raised = b.times(b.integer(spike), b.scalar("adapt_step"))
    b.out("a_next", sat(b.add(mul("a", adapt_decay), raised)))  # 12
    tested = b.where(holds, new_v, x)
    b.out("recorded", b.where(b.is_(b.scalar("record"), 1), tested, new_v))  # 13


@_operator(
    "izhikevich",
    "Izhikevich",
    "current v u",
    "spikes v_next u_next recorded",
    required="a b c d width",
    defaults={"peak": 30 * 256, "bias": _ZERO, "substeps": 1, "rounding": 1},
    widths={"width": 1},
)
def _izhikevich(b: Body) -> None:
    sat = b.saturating(b.scalar("width"))
    rounding, two = b.scalar("rounding"), b.is_(b.scalar("substeps"), 2)

    def scaled(x: str, factor: str, bits: int) -> str:
        return sat(b.rounded(b.times(x, factor), b.const(1 << bits), rounding))

    drive = sat(b.add("current", b.tensor("bias")))

    def move(v: str) -> str:
        w = b.most(b.least(v, b.const(IZHIKEVICH_BOUND)), b.const(-IZHIKEVICH_BOUND))
        x = sat(b.add(scaled(scaled(w, w, 8), b.const(2621), 16), scaled(w, b.const(5 * 256), 8)))
        x = sat(b.add(sat(b.sub(sat(b.add(x, b.const(140 * 256))), "u")), drive))
        x = b.where(two, scaled(x, b.const(32768), 16), x)
        return sat(b.add(x, w))

    once = move("v")
    v = b.where(two, move(once), once)
    y = sat(b.sub(scaled(v, b.scalar("b"), 16), "u"))
    y = sat(b.add("u", scaled(y, b.scalar("a"), 16)))
    fires = b.op("GreaterOrEqual", v, b.scalar("peak"))
    new_v = b.where(fires, b.scalar("c"), v)
    b.out("spikes", b.integer(fires))
    b.out("v_next", new_v)
    b.out("u_next", b.where(fires, sat(b.add(y, b.scalar("d"))), y))
    b.out("recorded", new_v)


@_operator(
    "alpha_neuron",
    "AlphaNeuron",
    "current v e h",
    "spikes v_next e_next h_next recorded",
    required="threshold alpha beta gain gain_bits reset width",
    defaults={"bias": _ZERO, "wta": 0, "rounding": 0},
    widths={"width": 1},
)
def _alpha_neuron(b: Body) -> None:
    sat = b.saturating(b.scalar("width"))
    rounding, reset, theta, zero = b.scalar("rounding"), b.scalar("reset"), b.tensor("threshold"), b.const(0)

    def mul(x: str, factor: str) -> str:
        return b.rounded(b.times(x, b.scalar(factor)), b.const(65536), rounding)

    c = sat(b.add("current", b.tensor("bias")))
    clears = b.both(b.op("Greater", "v", theta), b.is_(reset, 0))
    lowers = b.both(b.op("Greater", "v", theta), b.is_(reset, 1))
    e = sat(b.add(mul("e", "alpha"), c))
    g = sat(b.sub(mul("h", "beta"), c))
    v = sat(b.rounded(b.times(sat(b.add(e, g)), b.scalar("gain")), b.power(b.scalar("gain_bits")), rounding))
    v = b.where(clears, zero, b.where(lowers, sat(b.add(v, "h")), v))
    spike = b.op("Greater", v, theta)
    spike = b.choose(b.is_(b.scalar("wta"), 1), b.winner(spike, sat(b.sub(v, theta))), spike)
    b.out("spikes", b.integer(spike))
    b.out("v_next", v)
    b.out("e_next", b.where(clears, zero, b.where(lowers, sat(b.sub(e, theta)), e)))
    b.out("h_next", b.where(b.either(clears, lowers), zero, g))
    b.out("recorded", v)


@_operator(
    "bernoulli",
    "Bernoulli",
    "current x",
    "spikes x_next recorded",
    required="width",
    defaults={"bias": _ZERO},
    widths={"width": 1},
)
def _bernoulli(b: Body) -> None:
    sat = b.saturating(b.scalar("width"))
    c = sat(b.add("current", b.tensor("bias")))
    base = b.const(1 << CARRY_BITS)
    x = b.add(b.times(b.op("Mod", "x", base), b.const(CARRY_FACTOR)), b.floor_shift("x", base))
    draw = b.floor_shift(b.times(x, b.const(CARRY_SCALE)), b.const(1 << 23))
    b.out("spikes", b.integer(b.op("Less", draw, c)))
    b.out("x_next", x)
    b.out("recorded", x)


@_operator(
    "decide",
    "Decide",
    "spikes counts done winner at now",
    "counts_next done_next winner_next at_next now_next",
    required="mode count_bits step_bits",
    defaults={"margin": 0, "table": np.zeros(1, np.int64), "limit": 0},
    widths={"count_bits": 0, "step_bits": 4},
)
def _decide(b: Body) -> None:
    one, axis = b.const(1), b.const([1])
    counts = b.least(b.add("counts", "spikes"), b.sub(b.power(b.scalar("count_bits")), one))
    leader = b.op("ArgMax", counts, axis=1, keepdims=1, select_last_index=0)
    most = b.op("GatherElements", counts, leader, axis=1)
    others = b.where(b.op("Equal", b.positions(counts), leader), b.const(0), counts)
    second = b.op("ArgMax", others, axis=1, keepdims=1, select_last_index=0)
    lead = b.op("Squeeze", b.sub(most, b.op("GatherElements", others, second, axis=1)), axis)
    table = b.tensor("table")
    last = b.sub(b.op("Squeeze", b.op("Shape", table)), one)
    behind = b.op("Gather", table, b.least(b.sub(most, counts), last), axis=0)
    doubt = b.op("ReduceSum", behind, axis, keepdims=0)
    by_margin = b.op("GreaterOrEqual", lead, b.scalar("margin"))
    by_confidence = b.op("LessOrEqual", doubt, b.scalar("limit"))
    sure = b.choose(b.is_(b.scalar("mode"), 0), by_margin, by_confidence)
    done = b.is_("done", 1)
    b.out("counts_next", counts)
    b.out("done_next", b.integer(b.either(done, sure)))
    b.out("winner_next", b.where(done, "winner", b.op("Squeeze", leader, axis)))
    b.out("at_next", b.where(b.both(sure, b.no(done)), "now", "at"))
    b.out("now_next", b.least(b.add("now", one), b.sub(b.power(b.scalar("step_bits")), one)))
