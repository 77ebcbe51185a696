"""The scheduler: what a schedule must obey on any netlist, and that it is as good as it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.schedule import FIRST_BIT, Cells, schedule


def make_cells(rows, inputs: int, outputs=None) -> Cells:
    """Cells from (bits read, bits driven, delay); inputs are the first bits."""
    first, firsts = FIRST_BIT + inputs, []
    for _, count, _ in rows:
        firsts.append(first)
        first += count
    reads = [r for r, _, _ in rows]
    return Cells(
        first,
        np.concatenate([[0], np.cumsum([len(r) for r in reads])]).astype(np.int64),
        np.array([b for r in reads for b in r], np.int64),
        np.array(firsts, np.int64),
        np.array([count for _, count, _ in rows], np.int64),
        np.array([delay for _, _, delay in rows], np.int64),
        np.array([first - 1] if outputs is None else outputs, np.int64),
    )


@st.composite
def netlists(draw) -> Cells:
    inputs, rows = draw(st.integers(1, 4)), []
    bits = FIRST_BIT + inputs
    for _ in range(draw(st.integers(0, 14))):
        reads = draw(st.lists(st.integers(0, bits - 1), min_size=1, max_size=4))
        count = draw(st.integers(1, 3))
        rows.append((reads, count, draw(st.integers(0, 4))))
        bits += count
    outputs = draw(st.lists(st.integers(0, bits - 1), min_size=1, max_size=4))
    return make_cells(rows, inputs, outputs)


def levels(cells: Cells, plan, interval: int) -> int:
    """Longest path between registers, recomputed from the stages alone."""
    depth, stage = np.zeros(cells.bits, np.int64), np.zeros(cells.bits, np.int64)
    longest = 0
    for c in range(cells.count):
        s = plan.stage[c]
        if s < 0:
            continue
        start = 0
        for b in cells.in_bits[cells.in_start[c] : cells.in_start[c + 1]]:
            if b < FIRST_BIT:
                continue
            assert stage[b] <= s, "a bit is read before it is made"
            if stage[b] == s:
                start = max(start, depth[b])
        outs = slice(cells.out_first[c], cells.out_first[c] + cells.out_count[c])
        depth[outs] = start + (min(cells.delay[c], interval) if interval else cells.delay[c])
        stage[outs] = s
        longest = max(longest, int(depth[outs].max()))
    return longest


@settings(max_examples=300, deadline=None)
@given(netlists(), st.integers(0, 4))
def test_no_path_is_longer_than_the_interval_and_registers_are_counted(cells, interval):
    plan = schedule(cells, interval)
    if interval:
        assert levels(cells, plan, interval) <= interval
    else:
        assert plan.latency == 1
    registers = 0
    for bit in range(FIRST_BIT, cells.bits):
        readers = [
            plan.stage[c]
            for c in range(cells.count)
            if plan.stage[c] >= 0 and bit in cells.in_bits[cells.in_start[c] : cells.in_start[c + 1]]
        ]
        if bit in cells.outputs:
            readers.append(plan.latency)
        registers += max(readers) - plan.born[bit] if readers else 0
    assert plan.registers == registers == sum(plan.per_boundary)


@settings(max_examples=100, deadline=None)
@given(netlists(), st.integers(1, 4))
def test_what_no_output_needs_is_left_out(cells, interval):
    plan = schedule(cells, interval)
    wanted = set(cells.outputs.tolist())
    for c in reversed(range(cells.count)):
        driven = set(range(cells.out_first[c], cells.out_first[c] + cells.out_count[c]))
        assert (plan.stage[c] >= 0) == bool(driven & wanted)
        if driven & wanted:
            wanted |= set(cells.in_bits[cells.in_start[c] : cells.in_start[c + 1]].tolist())


def test_latency_of_a_chain():
    chain = make_cells([([2 + i], 1, 1) for i in range(7)], 1)
    assert [schedule(chain, n).latency for n in (0, 1, 2, 3, 7, 8)] == [1, 7, 4, 3, 1, 1]
    assert schedule(chain, 1).registers == 7


def test_a_narrow_side_waits_where_it_is_narrow():
    # four inputs meet in one bit, which is needed five stages later: one register a stage, not four
    rows = [([2], 1, 1), ([7], 1, 1), ([8], 1, 1), ([9], 1, 1), ([3, 4, 5, 6], 1, 1), ([10, 11], 1, 1)]
    plan = schedule(make_cells(rows, 5), 1)
    assert plan.latency == 5 and plan.stage[4] == 0 and plan.registers == 9


def test_a_wide_side_is_made_late():
    # one input fans out to four bits, read in the last stage only
    rows = [([2], 1, 1), ([4], 1, 1), ([5], 1, 1), ([3], 4, 1), ([6, 7, 8, 9, 10], 1, 1)]
    plan = schedule(make_cells(rows, 2), 1)
    assert plan.latency == 4 and plan.stage[3] == 2 and plan.registers == 3 + 2 + 4 + 1


@pytest.mark.parametrize("interval", [-1, 1001])
def test_an_interval_out_of_range_is_refused(interval):
    with pytest.raises(InputError, match="register interval must be 0 to 1000"):
        schedule(make_cells([([2], 1, 1)], 1), interval)
