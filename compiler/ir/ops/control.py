"""Control regions: only the taken side runs, in the interpreter and in hardware."""

from __future__ import annotations

from neuroloom.compiler.errors import GraphError

from .registry import Operands, Result, op


def _join(o: Operands) -> list[Result]:
    """One result per position, whose range covers every region's."""
    first, *others = o.region_results
    for number, other in enumerate(others, 1):
        if len(other) != len(first):
            raise GraphError(f"regions must give the same number of results, not {len(first)} and {len(other)}")
        for (a, _), (b, _) in zip(first, other, strict=True):
            if a.type != b.type or a.shape != b.shape:
                raise GraphError(f"region {number} must give {a.type}{list(a.shape)}, not {b.type}{list(b.shape)}")
    out = []
    for position, (value, _) in enumerate(first):
        ranges = [results[position][1] for results in o.region_results]
        bounds = min(r[0] for r in ranges), max(r[1] for r in ranges)
        out.append(Result(value.shape, bounds, value.type.frac, value.type))
    return out


def _need_scalar_bit(o: Operands) -> None:
    cond = o.values[0]
    if not cond.type.is_bit or cond.size != 1:
        raise GraphError(f"condition %{cond.name} must be one bit, not {cond.type}{list(cond.shape)}")


@op("when", arity=1, regions=(2, 2))
def when(o: Operands) -> list[Result]:
    """Run the first region if the condition bit is 1, else the second; decided per sample.

    Both regions give results of the same types and shapes. State may be updated inside (then the update is itself
    selected: the untaken side leaves the state as it was).
    """
    _need_scalar_bit(o)
    return _join(o)


@op("switch", arity=1, regions=(1, None))
def switch(o: Operands) -> list[Result]:
    """Run the region number ``index`` (one integer, proven to be a region's number); decided per sample."""
    index = o.values[0]
    lo, hi = o.ranges[0]
    if index.size != 1 or lo < 0 or hi >= len(o.region_results):
        raise GraphError(
            f"index %{index.name} must be one integer proven in 0..{len(o.region_results) - 1}, not {lo}..{hi}"
        )
    return _join(o)


@op("exit_when", arity=(2, None))
def exit_when(o: Operands) -> list[Result]:
    """If the condition bit (first input) is 1, the other inputs are the graph's outputs and nothing after runs.

    Decided per sample. Only at the top level of a graph; the verifier compares the values with the graph's outputs.
    """
    _need_scalar_bit(o)
    return []
