"""Truth tables as short Verilog expressions over one-bit signals."""

from __future__ import annotations

from functools import cache

_ONES = {0: 1, 1: 0b11, 2: 0xF, 3: 0xFF, 4: 0xFFFF}


@cache
def _split(table: int, count: int, var: int) -> tuple[int, int]:
    """Truth tables of count-1 inputs with input ``var`` at 0 and at 1."""
    low = high = 0
    for index in range(1 << (count - 1)):
        full = (index >> var) << (var + 1) | index & ((1 << var) - 1)
        low |= (table >> full & 1) << index
        high |= (table >> (full | 1 << var) & 1) << index
    return low, high


@cache
def _plan(table: int, names: tuple[str, ...]) -> tuple[int, str]:
    """(number of operators, expression) of the cheapest Shannon decomposition found."""
    count = len(names)
    ones = _ONES[count]
    if table == 0:
        return 0, "1'b0"
    if table == ones:
        return 0, "1'b1"
    best: tuple[int, str] | None = None
    for var in range(count):
        low, high = _split(table, count, var)
        rest = names[:var] + names[var + 1 :]
        full = _ONES[count - 1]
        name = names[var]
        if low == high:
            return _plan(low, rest)
        cost_low, text_low = _plan(low, rest)
        cost_high, text_high = _plan(high, rest)
        if low == 0 and high == full:
            option = (0, name)
        elif low == full and high == 0:
            option = (1, f"~{name}")
        elif low == high ^ full:
            option = (cost_low + 1, f"({name} ^ {text_low})")
        elif low == 0:
            option = (cost_high + 1, f"({name} & {text_high})")
        elif high == 0:
            option = (cost_low + 2, f"(~{name} & {text_low})")
        elif low == full:
            option = (cost_high + 2, f"(~{name} | {text_high})")
        elif high == full:
            option = (cost_low + 1, f"({name} | {text_low})")
        else:
            option = (cost_low + cost_high + 3, f"({name} ? {text_high} : {text_low})")
        if best is None or option[0] < best[0]:
            best = option
    return best or (0, "1'b0")


def expression(table: int, inputs: list[str]) -> str:
    """Verilog for a truth table: bit i of ``table`` is the value where input j is bit j of i.

    Constant inputs (``1'b0``, ``1'b1``) and repeated signals are folded first.
    """
    names = list(inputs)
    var = 0
    while var < len(names):
        low, high = _split(table, len(names), var)
        if names[var] in ("1'b0", "1'b1"):
            table = low if names[var] == "1'b0" else high
        elif names[var] in names[:var]:
            table = _merge(table, len(names), names.index(names[var]), var)
        else:
            var += 1
            continue
        del names[var]
    # The plan is cached on placeholder names so that equal tables share the search.
    marks = tuple(f"\x00{i}\x00" for i in range(len(names)))
    text = _plan(table, marks)[1]
    for mark, name in zip(marks, names, strict=True):
        text = text.replace(mark, name)
    return text


def _merge(table: int, count: int, first: int, second: int) -> int:
    """Truth table with input ``second`` tied to input ``first`` and removed."""
    result = 0
    for index in range(1 << (count - 1)):
        bit = index >> first & 1
        full = (index >> second) << (second + 1) | bit << second | index & ((1 << second) - 1)
        result |= (table >> full & 1) << index
    return result
