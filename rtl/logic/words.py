"""Arithmetic of rows of bits: adders, population counts, comparisons, multiplexers, as netlist cells.

On the iCE40 a k-bit ripple adder takes k logic cells, one more to get the carry out and one more to get a carry in, and
a full adder without the carry chain two; counts are built from both, whichever is smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from .netlist import ONE, ZERO, Netlist, Word

_XOR3, _MAJ3, _XOR2, _AND2 = 0x96, 0xE8, 0x6, 0x8
_CHAIN_FROM = 3
"""Adders of at least so many bits use the carry chain."""


def chain_delay(width: int) -> int:
    """LUT levels that a carry chain of ``width`` bits stands for: getting on and off costs one each, 16 bits one more."""
    return 2 + (width - 1) // 16


def constant(value: int, width: int) -> Word:
    """The two's-complement bits of an integer."""
    return tuple(value >> i & 1 for i in range(width))


def extend(word: Word, signed: bool, width: int) -> Word:
    """The same integer in ``width`` bits; cut off when narrower."""
    if len(word) >= width:
        return word[:width]
    return word + ((word[-1] if signed and word else ZERO),) * (width - len(word))


def add(net: Netlist, a: Word, b: Word, carry: int = ZERO, width: int | None = None) -> Word:
    """a + b + carry of unsigned words; all bits of the sum, or the low ``width``."""
    low: list[int] = []
    while (a or b) and carry == ZERO and (not a or not b or ZERO in (a[0], b[0])):
        first = [w[0] for w in (a, b) if w]
        low.append(first[0] if len(first) == 1 or first[1] == ZERO else first[1])
        a, b = a[1:], b[1:]
    size = max(len(a), len(b))
    if size == 0:
        high: Word = (carry,) if carry != ZERO else ()
    else:
        a, b = extend(a, False, size), extend(b, False, size)
        wanted = size + 1 if width is None else max(0, min(size + 1, width - len(low)))
        high = _add_luts(net, a, b, carry) if size < _CHAIN_FROM else _add_chain(net, a, b, carry, wanted)
    total = (*low, *high)
    return total if width is None else extend(total, False, width)


def _add_luts(net: Netlist, a: Word, b: Word, carry: int) -> Word:
    out = []
    for x, y in zip(a, b, strict=True):
        out.append(net.lut(_XOR3, x, y, carry))
        carry = net.lut(_MAJ3, x, y, carry)
    return (*out, carry)


def _add_chain(net: Netlist, a: Word, b: Word, carry: int, wanted: int) -> Word:
    if wanted == 0:
        return ()
    return net.word("add", (a, b, (carry,)), wanted, chain_delay(len(a)))


@cache
def _split(count: int, carry: bool) -> tuple[float, int]:
    """Cheapest (cost in LUTs, size of the left part) of counting ``count`` bits, one of them as carry-in if ``carry``."""
    rest = count - carry
    half = (rest + 1) // 2
    sizes = set(range(half, min(half + 24, rest))) | {(1 << j) - 1 for j in range(1, rest.bit_length() + 1)}
    best = (float("inf"), 0)
    for left in sizes:
        right = rest - left
        if not 0 < right <= left:
            continue
        wide = left.bit_length()
        out = count.bit_length()
        adder = 2 * wide if wide < _CHAIN_FROM else wide + (out > wide) + carry
        cost = _count_cost(left) + _count_cost(right) + adder + 1e-3 * wide
        best = min(best, (cost, left))
    return best


@cache
def _count_cost(count: int) -> float:
    if count <= 3:
        return 0 if count < 2 else 2
    return min(_split(count, True)[0], _split(count, False)[0])


def popcount(net: Netlist, bits: Sequence[int], ones: int = 0) -> tuple[Word, int]:
    """Count the bits that are 1; returns (word, ones left over).

    ``ones`` constants are counted too as far as they fit carry-ins for nothing; the rest is returned. Bits that come late are
    added late.
    """
    order = sorted(bits, key=lambda b: net.depth([b]))
    return _popcount(net, order, ones)


def _popcount(net: Netlist, bits: list[int], ones: int) -> tuple[Word, int]:
    count = len(bits)
    if count == 0:
        return (), ones
    if count == 1:
        return (bits[0],), ones
    if count <= 3:
        a, b, c = (*bits, ZERO)[:3]
        if count == 2 and ones:
            c, ones = ONE, ones - 1
        return (net.lut(_XOR3, a, b, c), net.lut(_MAJ3, a, b, c)), ones
    if ones:
        carry, ones, rest = ONE, ones - 1, bits
        left = _split(count, False)[1]
        most = count + 1
    else:
        real = _split(count, True)[0] <= _split(count, False)[0]
        carry, rest = (bits[-1], bits[:-1]) if real else (ZERO, bits)
        left = _split(count, real)[1]
        most = count
    given = ones
    one, ones = _popcount(net, rest[:left], ones)
    other, ones = _popcount(net, rest[left:], ones)
    most += given - ones
    total = add(net, one, other, carry)
    return total[: most.bit_length()], ones


def weighted_sum(net: Netlist, bits: Sequence[int], weights: Sequence[int], bias: int, width: int) -> Word:
    """bias + sum of weights[i] * bits[i], modulo 2**width.

    A negative weight counts the complement: -w*b = w*(1-b) - w. The bits of each power of two are counted, then the counts added.
    """
    per_bit: dict[int, int] = {}
    for bit, weight in zip(bits, weights, strict=True):
        per_bit[int(bit)] = per_bit.get(int(bit), 0) + int(weight)
    bias += per_bit.pop(ONE, 0)
    per_bit.pop(ZERO, None)
    columns: dict[int, list[int]] = {}
    for bit, weight in per_bit.items():
        if weight < 0:
            bit, bias, weight = net.invert(bit), bias + weight, -weight
        place = 0
        while weight >> place:
            if weight >> place & 1 and place < width:
                columns.setdefault(place, []).append(bit)
            place += 1
    words: list[tuple[int, Word]] = []
    for place in sorted(columns):
        room = bias >> place if bias > 0 and not bias & ((1 << place) - 1) else 0
        word, left = popcount(net, columns[place], room)
        bias -= (room - left) << place
        words.append((place, word))
    bias &= (1 << width) - 1
    while len(words) > 1:
        words.sort(key=lambda item: (net.depth(item[1]), item[0]))
        (p, a), (q, b) = words.pop(0), words.pop(0)
        base = min(p, q)
        words.append((base, add(net, (ZERO,) * (p - base) + a, (ZERO,) * (q - base) + b)))
    place, word = words[0] if words else (0, ())
    total = extend((ZERO,) * place + word, False, width)
    return add(net, total, constant(bias, width), width=width) if bias else total


def mux(net: Netlist, choose: int, yes: Word, no: Word) -> Word:
    """choose ? yes : no, bit by bit; both of one width."""
    return tuple(y if y == n else net.lut(0xCA, n, y, choose) for y, n in zip(yes, no, strict=True))


def unsigned(net: Netlist, word: Word, signed: bool) -> Word:
    """A word whose unsigned order is the integer's order: the sign bit is complemented."""
    return (*word[:-1], net.invert(word[-1])) if signed else word


def greater(net: Netlist, a: Word, b: Word, *, equal: bool = False) -> int:
    """a > b, or a >= b when ``equal``, of unsigned words of one width."""
    width = len(a)
    if width > 12:
        if equal:
            return net.invert(net.word("gt", (b, a), 1, chain_delay(width) + 1)[0])
        return net.word("gt", (a, b), 1, chain_delay(width) + 1)[0]
    if not net.interval or net.interval >= width:
        result = ONE if equal else ZERO
        for x, y in zip(a, b, strict=True):  # one LUT3 per bit: x > y, or equal and greater below
            result = net.lut(0xB2, x, y, result) if (x, y) != (ZERO, ZERO) else result
        return result
    return _greater_tree(net, a, b, ONE if equal else ZERO)[0]


def _greater_tree(net: Netlist, a: Word, b: Word, tie: int) -> tuple[int, int]:
    """(a > b, or ``tie`` when equal; a == b)."""
    if len(a) == 1:
        return net.lut(0xB2, a[0], b[0], tie), net.lut(0x9, a[0], b[0])
    if len(a) == 2 and net.lut_size >= 4:
        table = sum(int((i & 3) > (i >> 2) or ((i & 3) == (i >> 2) and tie == ONE)) << i for i in range(16))
        return net.lut(table, *a, *b), net.lut(0x8421, *a, *b)
    cut = len(a) // 2
    low, low_equal = _greater_tree(net, a[:cut], b[:cut], tie)
    high, high_equal = _greater_tree(net, a[cut:], b[cut:], ZERO)
    return net.lut(0xEA, high, high_equal, low), net.lut(_AND2, high_equal, low_equal)


def equals(net: Netlist, a: Word, b: Word) -> int:
    """a == b of words of one width."""
    bits = [net.lut(0x9, x, y) for x, y in zip(a, b, strict=True)]
    while len(bits) > 1:
        take = bits[: net.lut_size]
        bits = [*bits[net.lut_size :], net.lut(1 << ((1 << len(take)) - 1), *take)]
    return bits[0] if bits else ONE


def at_least(net: Netlist, word: Word, signed: bool, threshold: int) -> int:
    """word >= threshold, a constant."""
    lo, hi = (-(1 << (len(word) - 1)), (1 << (len(word) - 1)) - 1) if signed else (0, (1 << len(word)) - 1)
    if threshold <= lo:
        return ONE
    if threshold > hi:
        return ZERO
    word, threshold = unsigned(net, word, signed), threshold - lo
    skip = (threshold & -threshold).bit_length() - 1  # bits below the threshold's last 1 do not matter
    word, threshold = word[skip:], threshold >> skip
    if len(word) == 1:
        return word[0]
    if len(word) <= 12:
        delay = 1 + max(0, -(-(len(word) - net.lut_size) // (net.lut_size - 1)))
        return net.word("at_least", (word,), 1, delay, threshold)[0]
    return net.word("gt", (word, constant(threshold - 1, len(word))), 1, chain_delay(len(word)) + 1)[0]
