"""Spiking networks: synapses, integrate-and-fire neurons, the early decision.

These rules define what the spiking core, the fast simulator and the reference compute. ``docs/spiking.md`` has the
equations side by side with those of the usual frameworks.
"""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.graph import Value
from neuroloom.compiler.ir.types import Range, Type

from .registry import Operands, Result, need_indices, op

FACTOR_ONE = 65536
"""The factor 1.0 of a product: ``mul(x, k)`` is x * k / 2**16, rounded."""

LEAKS = ("none", "multiplicative", "subtractive")
RESETS = ("zero", "value", "subtract", "none")
RESET_MODES = ("immediate", "delayed", "delayed_new", "undelayed", "undelayed_new")
ROUNDINGS = ("floor", "half_up", "toward_zero")
RECORDS = ("stored", "tested")
DECISIONS = ("margin", "confidence")


@op(
    "synapses",
    arity=(1, 2),
    attrs={"pre": "tensor", "post": "tensor", "delay": "tensor", "n_post": "int", "weights": "tensor?"},
)
def synapses(o: Operands) -> list[Result]:
    """Synaptic currents: out[i] = sum of w[k] * H[delay[k], pre[k]] over the synapses k with post[k] = i; exact, int[n_post].

    The first input is H bit[D+1, n_pre]: row d holds the spikes of d steps ago, row 0 those of this step. The weights w
    int[n_syn] are the attribute ``weights`` when they are fixed, else the second input (plastic). ``pre``, ``post``,
    ``delay`` are int tensors [n_syn]. Synapses may share source, target and delay: each counts. Nothing saturates: the
    result's range holds every sum.
    """
    history = o.values[0]
    if not history.type.is_bit or len(history.shape) != 2:
        raise GraphError(f"history must be bit[delays, sources], not {history.type}{list(history.shape)}")
    pre, post, delay = o.tensor("pre", 1), o.tensor("post", 1), o.tensor("delay", 1)
    count, targets = len(pre), o.attr("n_post")
    if targets < 1:
        raise GraphError(f"n_post must be at least 1, not {targets}")
    if post.shape != (count,) or delay.shape != (count,):
        raise GraphError(f"pre, post and delay must be as many, not {count}, {len(post)} and {len(delay)}")
    need_indices(pre, history.shape[1])
    need_indices(post, targets)
    need_indices(delay, history.shape[0])
    if ("weights" in o.node.attrs) == (len(o.values) == 2):
        raise GraphError("weights must be either the attribute (fixed) or the second input (plastic)")
    if len(o.values) == 1:
        weights = o.tensor("weights", 1)
        if weights.shape != (count,):
            raise GraphError(f"weights must be one per synapse, {count}, not {len(weights)}")
        return [Result((targets,), _sums_range(weights, post, targets))]
    value, (lo, hi) = o.values[1], o.ranges[1]
    if value.shape != (count,):
        raise GraphError(f"weights %{value.name} must be one per synapse, [{count}], not {list(value.shape)}")
    most = int(np.bincount(post, minlength=targets).max())
    return [Result((targets,), (min(lo, 0) * most, max(hi, 0) * most), value.type.frac)]


def _sums_range(weights: np.ndarray, post: np.ndarray, targets: int) -> Range:
    """Least and greatest sum that any target can receive: all its negative weights, or all its positive ones."""
    if not len(weights):
        return 0, 0
    if max(abs(int(weights.min())), abs(int(weights.max()))) * len(weights) >= 1 << 53:
        raise GraphError("weights must add up to less than 2**53")
    lows = np.bincount(post, np.minimum(weights, 0), targets)  # doubles are exact below 2**53
    highs = np.bincount(post, np.maximum(weights, 0), targets)
    return int(lows.min()), int(highs.max())


@op(
    "lif",
    arity=(2, 5),
    attrs={
        "threshold": "tensor",
        "leak": "str",
        "beta": "int?",
        "decay": "int?",
        "alpha": "int?",
        "bias": "tensor?",
        "drive": "tensor?",
        "strict": "bool",
        "reset": "str",
        "v_reset": "int?",
        "reset_mode": "str",
        "refractory": "int?",
        "refractory_v": "int?",
        "integrates": "bool?",
        "adapt_decay": "int?",
        "adapt_step": "int?",
        "wta": "bool?",
        "rounding": "str?",
        "old_current": "bool?",
        "record": "str?",
    },
)
def lif(o: Operands) -> list[Result]:
    """One step of n leaky integrate-and-fire neurons.

    Inputs: current int[n], v, then the states that exist, in this order: i (when ``alpha`` is given), r (when
    ``refractory`` > 0), a (when ``adapt_decay`` is given). Outputs: spike bit[n], v', i', r', a' (those that exist),
    recorded membrane. v, i and a have one signed type T (s24, say); r is unsigned and holds ``refractory``. The
    current's proven range must fit T.

    ``sat`` saturates to T (status bit *saturated*); every + and − below is under one ``sat``, in the order written.
    ``mul(x, k)`` = (x·k + h) >> 16 with 0 <= k <= 65536 and h = 0 (``rounding`` floor, the default), 2**15 (half_up),
    or 65535 if x·k < 0 else 0 (toward_zero); it never leaves T. ``above(x)`` is x > θ when ``strict``, else x >= θ. All
    comparisons are of integers of T. ``threshold``, ``bias``, ``drive`` are int tensors [n] or [] inside T; ``v_reset``
    (0 without) and ``refractory_v`` lie in T::

        1  θ = sat(threshold + a)                                   threshold alone without a; a is the old one
        2  c = sat(current + bias)                                  current alone without bias
        3  with alpha:  i' = sat(mul(i, alpha) + c);  c = i if old_current else i'
        4  R = above(v) if reset_mode is not immediate, else 0      the old v, this step's θ
        5  x = v_reset if R and reset is zero or value and reset_mode is delayed or undelayed, else v
        6  x = x (leak none) | mul(x, beta) (multiplicative) | x − min(max(x, −decay), decay) (subtractive: never across 0)
        7  x = sat(x + c);  with drive: x = sat(x + drive)
        8  if R:  reset subtract: x = sat(x − θ);  reset zero or value and reset_mode delayed_new or undelayed_new: x = v_reset
        9  s = above(x) and r = 0;  with wta, of the neurons with s only that of the largest sat(x − θ) keeps it, the
                                                                     lowest index of equals
       10  v' = x, but
             immediate and s:                   zero: 0 | value: v_reset | subtract: sat(x − θ) | none: x
             undelayed(_new), s and not R:      zero or value: v_reset | subtract: sat(x − θ) | none: x
             undelayed(_new), R and not s:      zero or value: sat(sat(x + x) − v_reset) | subtract: sat(x + θ) | none: x
             r > 0 (counting, s = 0) and not integrates, in place of all the above:
                 refractory_v where given; else in delayed and delayed_new with R:
                     v_reset (zero, value) | sat(v − θ) (subtract) | v (none); else v
       11  r' = refractory if s else max(r − 1, 0)                  silent in the ``refractory`` steps after a spike
       12  a' = sat(mul(a, adapt_decay) + adapt_step if s else mul(a, adapt_decay))
       13  recorded = v' (``record`` stored, the default), or x of line 9 (tested; v' while counting, unless integrates)

    ``reset`` zero is value with v_reset 0. While counting, i and a go on and v does not integrate; with ``integrates``
    (NeuroCoreX) it does, and only the spike is suppressed. i' of line 3 is what the next step sees in every mode.
    Absent ``refractory`` and ``adapt_step`` mean 0. The shift leak is beta = 65536 − 2**(16−k); like every mul it
    rounds the product (x − (x >> k) would round it up). A neuron that never spikes (LI) has threshold T.hi, strict.

    Modes (snnTorch 1.0.0): ``delayed`` is Leaky (zero clears the old membrane and keeps the step's input);
    ``delayed_new`` is zero of Synaptic, RLeaky, RSynaptic, Lapicque (clears the new membrane; subtract is the same as
    delayed); ``undelayed`` and ``undelayed_new`` are the same modules with ``reset_delay=False``. Adaptation needs
    ``immediate``: snnTorch has none.
    """
    n, t = need_population(o, "current")
    a = o.node.attrs
    need_choice("leak", a["leak"], LEAKS)
    need_choice("reset", a["reset"], RESETS)
    need_choice("reset_mode", a["reset_mode"], RESET_MODES)
    need_choice("rounding", a.get("rounding", "floor"), ROUNDINGS)
    need_choice("record", a.get("record", "stored"), RECORDS)
    if a["leak"] == "multiplicative":
        need_factor(o, "beta")
    if a["leak"] == "subtractive":
        need_within("decay", a.get("decay", -1), (0, t.hi))
    for name in ("v_reset", "refractory_v", "adapt_step"):
        if name in a:
            need_within(name, a[name], t.range)
    if a["reset"] == "zero" and a.get("v_reset", 0) != 0:
        raise GraphError(f"v_reset must be 0 when reset is zero, not {a['v_reset']}; use reset value")
    need_parameters(o, ("threshold", "bias", "drive"), n, t)
    refractory = a.get("refractory", 0)
    if refractory < 0:
        raise GraphError(f"refractory must be a number of steps of at least 0, not {refractory}")
    if "refractory_v" in a and not refractory:
        raise GraphError("refractory_v must go with a refractory of at least 1 step")
    if a.get("integrates") and (not refractory or "refractory_v" in a):
        raise GraphError("integrates must go with a refractory of at least 1 step and without refractory_v")
    if a.get("old_current") and "alpha" not in a:
        raise GraphError("old_current must go with alpha: without a synapse there is no older current")
    if "adapt_step" in a and "adapt_decay" not in a:
        raise GraphError("adapt_step must go with adapt_decay")
    if "adapt_decay" in a and a["reset_mode"] != "immediate":
        raise GraphError(
            f"reset_mode must be immediate with an adaptive threshold, not {a['reset_mode']}, snnTorch's, which has none"
        )
    names = ["v"]
    if "alpha" in a:
        need_factor(o, "alpha")
        names.append("i")
    if refractory:
        names.append("r")
    if "adapt_decay" in a:
        need_factor(o, "adapt_decay")
        names.append("a")
    if len(o.values) != 1 + len(names):
        raise GraphError(
            f"lif with these options must have the states {', '.join(names)}, not {len(o.values) - 1} states"
        )
    results = [Result((n,), (0, 1))]
    for name, value in zip(names, o.values[1:], strict=True):
        if name == "r":
            need_counter(value, refractory, n)
            results.append(Result((n,), (0, value.type.hi), 0, value.type))
            continue
        if value.shape != (n,) or value.type != t:
            raise GraphError(f"state {name} must be {t}[{n}] as v is, not {value.type}{list(value.shape)}")
        results.append(Result((n,), t.range, t.frac, t))
    return [*results, Result((n,), t.range, t.frac, t)]


def need_population(o: Operands, what: str) -> tuple[int, Type]:
    """Size and state type of a neuron op whose first input is the current and whose second is v; checks both."""
    current, v = o.values[:2]
    if len(current.shape) != 1 or v.shape != current.shape:
        raise GraphError(f"{what} and v must be int[n] of one size, not {list(current.shape)} and {list(v.shape)}")
    if not v.type.signed or v.type.width > 32:
        raise GraphError(f"v must be signed and of at most 32 bits, not {v.type}")
    if current.type.frac != v.type.frac:
        raise GraphError(f"{what} and v must have the same fraction bits, not {current.type} and {v.type}")
    if not v.type.holds(o.ranges[0]):
        lo, hi = o.ranges[0]
        raise GraphError(
            f"{what} must fit the state type {v.type}, not reach {lo}..{hi}; use a wider state or smaller weights"
        )
    return current.shape[0], v.type


def need_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that ``value`` is one of ``choices``; raises GraphError."""
    if value not in choices:
        raise GraphError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def need_within(name: str, value: int, bounds: Range) -> None:
    """Check that ``value`` lies in ``bounds``, inclusive; raises GraphError."""
    if not bounds[0] <= value <= bounds[1]:
        raise GraphError(f"{name} must be in {bounds[0]}..{bounds[1]}, not {value}")


def need_factor(o: Operands, name: str) -> None:
    """Check that the attribute ``name`` is there and a factor 0..65536 (65536 is 1.0); raises GraphError."""
    if name not in o.node.attrs:
        raise GraphError(f"{name} must be given, in 0..{FACTOR_ONE}")
    need_within(name, o.attr(name), (0, FACTOR_ONE))


def need_parameters(o: Operands, names: tuple[str, ...], n: int, t: Type) -> None:
    """Check that the tensors ``names`` that are there are [n] or [] and inside ``t``; raises GraphError."""
    for name in names:
        if name not in o.node.attrs:
            continue
        array = o.attr(name)
        if array.shape not in ((), (n,)):
            raise GraphError(f"{name} must be one integer or one per neuron, {n}, not {list(array.shape)}")
        if array.size and not t.holds((int(array.min()), int(array.max()))):
            raise GraphError(f"{name} must be in {t.lo}..{t.hi}, not {int(array.min())}..{int(array.max())}")


def need_counter(value: Value, most: int, n: int) -> None:
    """Check that ``value`` is an unsigned state [n] that holds ``most``; raises GraphError."""
    if value.shape != (n,) or value.type.signed or value.type.frac or value.type.hi < most:
        raise GraphError(
            f"counter %{value.name} must be unsigned[{n}] and hold {most}, not {value.type}{list(value.shape)}"
        )


@op("decide", arity=6, attrs={"mode": "str", "margin": "int?", "table": "tensor?", "limit": "int?"})
def decide(o: Operands) -> list[Result]:
    """Early decision by spike counts, one step.

    Inputs: this step's spikes bit[n]; the states counts uint[n], done bit[], winner uint[], at uint[], now uint[] (the
    number of this step, 0 at first). Outputs: counts', done', winner', at', now' of the same types. With S the type's
    largest integer::

        counts' = min(counts + spike, S)                 they go on after the decision
        leader  = index of the largest counts', the lowest of equals
        margin:      sure = counts'[leader] − runner >= margin, runner the largest of the other counts' (0 when n = 1)
        confidence:  sure = sum over all k, the leader too, of table[min(counts'[leader] − counts'[k], len(table) − 1)] <= limit
        done'   = done or sure
        winner' = winner if done else leader             before the decision: the leader so far
        at'     = now if sure and not done else at
        now'    = min(now + 1, S)

    ``margin`` >= 1. ``table`` int[1..1024], entries 0..65535, falling or level: table[d] = round(scale * exp(-d /
    temperature)) makes ``limit`` = scale / p the test "softmax confidence >= p" (Dynamic Confidence, Li et al., ICCV
    2023). A saturated count raises *count*.
    """
    spikes, counts, done, winner, at, now = o.values
    if len(spikes.shape) != 1 or not spikes.type.is_bit or not spikes.shape[0]:
        raise GraphError(f"spikes must be bit[n], not {spikes.type}{list(spikes.shape)}")
    n = spikes.shape[0]
    need_counter(counts, 1, n)
    if not done.type.is_bit or done.shape != ():
        raise GraphError(f"done must be bit[], not {done.type}{list(done.shape)}")
    for value, most in ((winner, n - 1), (at, 1), (now, 1)):
        if value.shape != () or value.type.signed or value.type.frac or value.type.hi < most:
            raise GraphError(
                f"%{value.name} must be one unsigned integer that holds {most}, not {value.type}{list(value.shape)}"
            )
    if at.type != now.type:
        raise GraphError(f"at must be of the type of now, {now.type}, not {at.type}")
    mode, a = o.attr("mode"), o.node.attrs
    need_choice("mode", mode, DECISIONS)
    if mode == "margin":
        need_within("margin", a.get("margin", 0), (1, counts.type.hi))
    else:
        if "table" not in a or "limit" not in a:
            raise GraphError("a decision by confidence must have a table and a limit")
        table = o.tensor("table", 1)
        if (
            not 1 <= len(table) <= 1024
            or table.min() < 0
            or table.max() > 65535
            or (np.diff(table.astype(np.int64)) > 0).any()
        ):
            raise GraphError("table must hold 1 to 1024 entries in 0..65535 that never rise")
        need_within("limit", a["limit"], (0, (1 << 31) - 1))
    return [Result(v.shape, v.type.range, 0, v.type) for v in (counts, done, winner, at, now)]
