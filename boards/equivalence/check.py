"""The check: read both graphs side by side, let ABC settle which bits are equal, compare what comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import NeuroloomError
from neuroloom.compiler.ir import Graph

from .abc import satisfy, sweep
from .reader import Reader, Shared

SAMPLES = 4096
"""Random samples tried in search of a difference, before ABC is asked for one."""


@dataclass(frozen=True)
class Counterexample:
    """Inputs on which the graphs differ.

    ``output`` and ``index`` name the element that differs; ``inputs`` are integer arrays of one sample, by input name, in the
    inputs' shapes; ``answers`` are what the graphs give.
    """

    output: str
    index: tuple[int, ...]
    inputs: dict[str, np.ndarray]
    answers: tuple[int, int]


class UndecidedError(NeuroloomError):
    """Neither a proof of equivalence nor a counterexample was found; names the output."""

    exit_code = 1


def check_equivalence(
    a: Graph, b: Graph, *, timeout: float = 600, progress: Callable[[str], None] | None = None
) -> Counterexample | None:
    """Prove that two framed graphs (or one step of clocked ones) give the same outputs for every input; None when they do.

    Thresholds, tables and all other logic become one and-inverter graph, which ABC sweeps (``&fraig``) and whose sweep it
    certifies (their miter falls to zeros); sums become linear forms over the swept bits, and the operations behind them
    (arg-max and the like) must be the same on the same forms. ``timeout`` is in seconds per run of ABC. Returns a Counterexample
    when the graphs differ; raises UndecidedError when neither is found, UnsupportedError on control regions, and
    MissingToolError without Yosys.
    """
    _same_interface(a, b)
    shared = Shared()
    readers = Reader(a, shared), Reader(b, shared)
    while True:
        waiting = [x for r in readers for x in r.advance()]
        targets = _targets(readers)
        waiting += [x for pair in targets for side in pair[1:3] if pair[3] for x in side.reshape(-1).tolist()]
        fresh = sorted({x >> 1 for x in waiting} - shared.classes.keys())
        if not fresh:
            break
        if progress:
            progress(f"ABC compares {len(fresh)} bits over {len(shared.aig.fanins)} gates")
        _settle(shared, fresh, timeout)
    stuck = [n for r in readers for n in r.todo]
    if stuck:
        raise UndecidedError(f"{stuck[0].where()} must be read to compare the graphs, but its inputs never settle")
    for name, left, right, bits in _targets(readers):
        left, right = (shared.settled(left), shared.settled(right)) if bits else (left, right)
        for index in zip(*np.nonzero(left != right), strict=True) if left.shape else [()] * int(left != right):
            where = tuple(int(i) for i in index)
            return _difference(readers, name, where, int(left[where]), int(right[where]), bits, timeout)
    return None


Target = tuple[str, np.ndarray, np.ndarray, bool]


def _targets(readers: tuple[Reader, Reader]) -> list[Target]:
    """(name, values of a, values of b, whether bits) of every output and state update that both sides have read."""
    a, b = readers
    out: list[Target] = []
    for left in a.graph.outputs:
        right = next(o for o in b.graph.outputs if o.name == left.name)
        if left.value in a.env and right.value in b.env:
            bits = a.is_bits(left.value) and b.is_bits(right.value)
            x, y = a.env[left.value], b.env[right.value]
            if not bits and (a.is_bits(left.value) or b.is_bits(right.value)):
                raise NeuroloomError(f"output {left.name!r} must be bits in both graphs or in none")
            out.append((left.name, x, y, bits))
    for state in a.updates.keys() & b.updates.keys():
        out.append((f"update of {state}", a.updates[state], b.updates[state], a.is_bits(state)))
    return out


def _same_interface(a: Graph, b: Graph) -> None:
    def inputs(g: Graph) -> list[tuple[str, str, object]]:
        return sorted((i.name, f"{i.value.type}{list(i.value.shape)}", i.range) for i in g.inputs)

    def outputs(g: Graph) -> list[tuple[str, object]]:
        values = g.values()
        return sorted((o.name, values[o.value].shape) for o in g.outputs)

    states = [sorted((s.name, s.attrs["init"].tobytes()) for s in g.states) for g in (a, b)]
    if inputs(a) != inputs(b) or outputs(a) != outputs(b) or states[0] != states[1]:
        raise NeuroloomError(f"graphs {a.name!r} and {b.name!r} must have the same inputs, outputs and states")


def _settle(shared: Shared, fresh: Sequence[int], timeout: float) -> None:
    """Find the classes of the variables in ``fresh`` among themselves and those known."""
    known = sorted({v >> 1 for v in shared.classes.values()} - {0})
    first: dict[int, int] = {0: 0}
    variables = [*known, *fresh]
    swept = sweep(shared.aig, [2 * v for v in variables], timeout)
    for variable, number in zip(variables, swept, strict=True):
        literal = 2 * variable
        if number >> 1 in first:
            literal = first[number >> 1] ^ (number & 1)
        else:
            first[number >> 1] = literal ^ (number & 1)
        if variable not in shared.classes:
            shared.classes[variable] = literal


def _difference(
    readers: tuple[Reader, Reader],
    name: str,
    index: tuple[int, ...],
    left: int,
    right: int,
    bits: bool,
    timeout: float,
) -> Counterexample:
    """Inputs on which the element differs, from random samples or from ABC."""
    shared = readers[0].shared
    where = f"element {list(index)} of {name}"
    if any(key[0] != "input" for key in shared.variables):
        raise UndecidedError(
            f"{where} must be equal in both graphs, but behind a sum the difference cannot be traced to inputs"
        )
    for values in _samples(readers[0].graph, shared):
        found = _numbers(shared, values, left, right, bits)
        if found is not None:
            return _example(readers, name, index, *found)
    pair = (left, right) if bits else _odd_pair(shared, left, right)
    if pair is not None:
        aig = shared.aig
        found_bits = satisfy(aig, aig.choose(pair[0], pair[1] ^ 1, pair[1]), timeout)
        if found_bits is not None:
            values = np.array(found_bits, np.uint64)[:, None]
            found = _numbers(shared, values, left, right, bits)
            if found is not None:
                return _example(readers, name, index, *found)
    raise UndecidedError(f"{where} must be equal in both graphs; no proof and no counterexample was found")


def _samples(graph: Graph, shared: Shared) -> list[np.ndarray]:
    """Random values of the variables, uint64[inputs, words]: uniform integers within the inputs' ranges."""
    rng = np.random.default_rng(0)
    position = {2 * v: n for n, v in enumerate(shared.aig.inputs)}
    out = np.zeros((len(position), SAMPLES), np.uint8)
    for item in graph.inputs:
        lo, hi = item.range
        for i in range(item.value.size):
            x = rng.integers(lo, hi, SAMPLES, endpoint=True)
            for place, literal in enumerate(shared.input_bits[item.name, i]):
                out[position[literal]] = x >> place & 1
    packed = np.packbits(out, axis=1, bitorder="little")
    return [np.ascontiguousarray(packed).view(np.uint64)]


def _numbers(
    shared: Shared, inputs: np.ndarray, left: int, right: int, bits: bool
) -> tuple[dict[int, int], tuple[int, int]] | None:
    """The first sample on which two literals or forms differ: values of the input literals, and both integers."""
    values = shared.aig.simulate(inputs)
    samples = 64 * inputs.shape[1]

    def literal(x: int) -> np.ndarray:
        word = values[x >> 1] ^ (~np.uint64(0) if x & 1 else np.uint64(0))
        return np.unpackbits(np.ascontiguousarray(word).view(np.uint8), bitorder="little").astype(np.int64)

    def integer(x: int) -> np.ndarray:
        if bits:
            return literal(x)
        terms, constant = shared.forms.forms[x]
        total = np.full(samples, constant, np.int64)
        for atom, coefficient in terms:
            if atom < 0:
                key = next(k for k, v in shared.forms.atoms.items() if v == atom)
                if not (isinstance(key, tuple) and key[0] == "input"):
                    raise UndecidedError("integers behind other operations must be the same, and are not proven so")
                number = shared.forms.atom(key)
                lits, signed = shared.forms.bits[number]
                for place, x_bit in enumerate(lits):
                    weight = -(1 << place) if signed and place == len(lits) - 1 else 1 << place
                    total += coefficient * weight * literal(x_bit)
            else:
                total += coefficient * literal(atom)
        return total

    a, b = integer(left), integer(right)
    differ = np.flatnonzero(a != b)
    if not len(differ):
        return None
    at = int(differ[0])
    bit = {2 * v: int(inputs[n, at // 64] >> np.uint64(at % 64)) & 1 for n, v in enumerate(shared.aig.inputs)}
    return bit, (int(a[at]), int(b[at]))


def _odd_pair(shared: Shared, left: int, right: int) -> tuple[int, int] | None:
    """The two bits in which two forms differ, when that is all: one of each with the same coefficient."""
    (a, ca), (b, cb) = shared.forms.forms[left], shared.forms.forms[right]
    only = dict(a).items() - dict(b).items(), dict(b).items() - dict(a).items()
    if ca != cb or len(only[0]) != 1 or len(only[1]) != 1:
        return None
    ((p, wp),), ((q, wq),) = only
    return (p, q) if wp == wq and min(p, q) > 0 else None


def _example(
    readers: tuple[Reader, Reader], name: str, index: tuple[int, ...], bit: dict[int, int], answers: tuple[int, int]
) -> Counterexample:
    shared = readers[0].shared
    inputs = {}
    for item in readers[0].graph.inputs:
        lo, hi = item.range
        x = []
        for i in range(item.value.size):
            raw = sum(bit[v] << place for place, v in enumerate(shared.input_bits[item.name, i]))
            if item.value.type.signed and raw > item.value.type.hi:
                raw -= 1 << item.value.type.width
            x.append(raw if lo <= raw <= hi else lo)  # the reading confines inputs in the same way
        inputs[item.name] = np.array(x, np.int64).reshape(item.value.shape)
    return Counterexample(name, index, inputs, answers)
