"""Truth tables as short Verilog expressions of &, |, ^, ~ and ?:, which every tool reads quickly."""

from __future__ import annotations

from functools import cache

_FULL = [(1 << (1 << k)) - 1 for k in range(7)]


@cache
def _cofactors(table: int, k: int, size: int) -> tuple[int, int]:
    """The table with input k at 0 and at 1, still over ``size`` inputs."""
    step = 1 << k
    mask = 0
    for block in range(0, 1 << size, 2 * step):
        mask |= ((1 << step) - 1) << block
    low, high = table & mask, table >> step & mask
    return low | low << step, high | high << step


@cache
def template(table: int, size: int) -> tuple[str, int]:
    """(format string over the inputs {0}..{size-1}, number of literals) of a truth table of ``size`` inputs.

    Shannon's expansion on the input that gives the fewest literals; every result is a literal, a constant or in parentheses.
    """
    full = _FULL[size]
    if table == 0:
        return "1'b0", 0
    if table == full:
        return "1'b1", 0
    best: tuple[str, int] | None = None
    for k in range(size):
        low, high = _cofactors(table, k, size)
        if low == high:
            continue
        name = f"{{{k}}}"
        if low == 0 and high == full:
            return name, 1
        if low == full and high == 0:
            return f"~{name}", 1
        found = _expand(name, low, high, size)
        if best is None or found[1] < best[1]:
            best = found
    assert best is not None
    return best


def _expand(name: str, low: int, high: int, size: int) -> tuple[str, int]:
    full = _FULL[size]
    if low == high ^ full:
        text, cost = template(low, size)
        return f"({name} ^ {text})", cost + 1
    if low == 0:
        text, cost = template(high, size)
        return f"({name} & {text})", cost + 1
    if high == 0:
        text, cost = template(low, size)
        return f"(~{name} & {text})", cost + 1
    if low == full:
        text, cost = template(high, size)
        return f"(~{name} | {text})", cost + 1
    if high == full:
        text, cost = template(low, size)
        return f"({name} | {text})", cost + 1
    (a, m), (b, n) = template(low, size), template(high, size)
    return f"({name} ? {b} : {a})", m + n + 1


def at_least(threshold: int, size: int) -> str:
    """Template of (unsigned input) >= threshold: from the top bit down, & where the threshold has a 1, | where a 0."""
    text = "1'b1"
    for k in range(size):
        if threshold >> k & 1:
            text = f"{{{k}}}" if text == "1'b1" else f"({{{k}}} & {text})"
        else:
            text = text if text == "1'b1" else f"({{{k}}} | {text})"
    return text
