"""Sums of the lanes: which weights stand in which row, and the job that adds and drains them."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from .code import Access, Job, Part, Touch
from .core import GatedConfig
from .forms import Spec
from .isa import Op, Source, limits
from .locate import Space
from .pieces import runs

BIAS_REPEATS = 16
"""Most cycles spent on one bias."""

N0 = limits(Op.MAC, "n0")[1]
N1 = limits(Op.MAC, "n1")[1]


class Weights:
    """The weight memory while a program is made; equal rows are stored once."""

    def __init__(self, config: GatedConfig) -> None:
        self.config = config
        self.rows: list[np.ndarray] = []
        self.owners: list[tuple[str, int]] = []
        self._known: dict[bytes, int] = {}

    def add(self, rows: np.ndarray, source: str) -> int:
        """Number of the first of these rows (int[n, lanes])."""
        key = rows.tobytes()
        if key not in self._known:
            self._known[key] = len(self.rows)
            self.rows += list(rows)
            self.owners.append((source, len(rows)))
        return self._known[key]


def bias_exponents(config: GatedConfig) -> list[int]:
    """Powers of two that the input has for the bias's digits, as many as fill the groups."""
    step = min(config.weight - 1, config.word - 2)
    return list(range(0, config.word - 1, step))


def _bias(config: GatedConfig, bias: np.ndarray, source: str) -> list[tuple[tuple[int, ...], list[np.ndarray]]]:
    """Cycles that add the bias: input elements (one per group), and the weights of each group."""
    if not any(bias):
        return []
    exponents = bias_exponents(config)
    limit = 1 << config.weight - 1
    rest = bias.astype(object)
    digits: list[tuple[int, np.ndarray]] = []
    for number, exponent in enumerate(exponents):
        width = exponents[number + 1] - exponent if number + 1 < len(exponents) else None
        part = rest if width is None else rest & (1 << width) - 1
        rest = (rest - part) >> (width or 0)
        if width is not None:
            digits.append((exponent, part))
            continue
        for _ in range(BIAS_REPEATS):
            cut = np.clip(part, -limit, limit - 1)
            digits.append((exponent, cut))
            part = part - cut
            if not part.any():
                break
        else:
            raise UnsupportedError(
                f"{source}: the bias reaches {int(np.abs(bias).max()):,}, more than {BIAS_REPEATS} weights of {config.weight} bits "
                f"times 2**{exponent} add up to; requantize the weights to more fraction bits, or take a profile with wider weights"
            )
    digits = [(e, d) for e, d in digits if d.any()]
    out = []
    for at in range(0, len(digits), config.groups):
        chunk = digits[at : at + config.groups]
        chunk += [(0, np.zeros(len(bias), object))] * (config.groups - len(chunk))
        out.append((tuple(1 << e for e, _ in chunk), [d for _, d in chunk]))
    return out


def bias_beats(config: GatedConfig, bias: np.ndarray, source: str) -> list[tuple[tuple[int, ...], list[np.ndarray]]]:
    """Cycles that add a bias, as :func:`mac_job` does: the input elements (one per group), and the weights of each group."""
    return _bias(config, bias, source)


def mac_job(
    config: GatedConfig,
    space: Space,
    weights: Weights,
    x: np.ndarray,
    x_reg: np.ndarray,
    matrix: np.ndarray,
    bias: np.ndarray,
    drains: list[tuple[int, int, Spec]],
    *,
    source: str,
) -> Job:
    """The job that computes ``matrix`` x + ``bias`` for at most one group's lanes and drains it once per entry of ``drains``.

    ``x`` int64[K] addresses with their registers, ``matrix`` int[O, K]; a drain is the address of its first result, its register,
    and how it leaves.
    """
    groups, lanes, time = config.groups, config.per_group, config.timing
    count = len(matrix)
    beats: list[tuple[int, int, int, list[tuple[int, np.ndarray]]]] = []  # register, same, address, (group, weights)
    for elements, digits in _bias(config, bias, source):
        beats.append((0, 0, space.constant(elements), list(enumerate(digits))))
    places: dict[tuple[int, int, int, int], list[tuple[int, np.ndarray]]] = {}
    seen: dict[tuple[int, int], int] = {}
    for k, (address, register) in enumerate(zip(x.tolist(), x_reg.tolist(), strict=True)):
        turn = seen.get((register, address), 0)  # an element that the sum has twice comes twice
        seen[register, address] = turn + 1
        if space.aligned(register, groups):
            places.setdefault((turn, register, 0, address - address % groups), []).append(
                (address % groups, matrix[:, k])
            )
        else:
            places.setdefault((turn, register, 1, address), []).append((0, matrix[:, k]))
    # what a loop walks along comes first: it is there before what the round before computes
    for turn, register, same, address in sorted(places, key=lambda place: (place[0], place[1] == 0, *place[1:])):
        beats.append((register, same, address, places[turn, register, same, address]))
    if not beats:
        beats.append((0, 1, space.constant((0,)), []))

    rows = np.zeros((len(beats), config.lanes), np.int64)
    for number, (_, _, _, parts) in enumerate(beats):
        for group, column in parts:
            rows[number, group * lanes : group * lanes + count] += column.astype(np.int64)
    w_addr = weights.add(rows, source)

    words, at, first = [], 0, 0
    reads: list[Touch] = []
    while first < len(beats):
        register, same = beats[first][:2]
        end = first
        while end < len(beats) and beats[end][:2] == (register, same):
            end += 1
        addresses = np.array([b[2] for b in beats[first:end]])
        for run in runs(addresses, N0, N1):
            words.append(
                (
                    at,
                    Op.MAC,
                    {
                        "first": int(at == 0),
                        "same": same,
                        "x_addr": run.start,
                        "x_reg": register,
                        "n0": run.n0,
                        "s0": run.s0,
                        "n1": run.n1,
                        "s1": run.s1,
                        "w_addr": w_addr + at,
                    },
                )
            )
            at += run.n0 * run.n1
        near = np.arange(groups if register else 1)  # tuples lie in one row unless a register moves them
        when = np.repeat(np.arange(first, end) + time.read, len(near))
        reads.append(space.touch(register, (addresses[:, None] + near).ravel(), when))
        first = end
    words[-1][2]["capture"] = 1
    last = time.read + len(beats) - 1
    own = "beat" if config.shared else "mac"
    mac = Part(words, [(own, time.read, last)], Access.join([t.whole for t in reads]), by_read=tuple(reads))

    turns = lanes // config.ports
    out_rows = -(-count // config.ports)
    jobs, lags = [mac], [0]
    for number, (address, register, spec) in enumerate(drains):
        fields = {
            "rows": out_rows,
            "d_addr": address,
            "d_reg": register,
            "d_rs": config.ports,
            "tail": count - (out_rows - 1) * config.ports,
            "source": int(Source.LAST if number == len(drains) - 1 else Source.HOLD),
            **spec.fields(),
        }
        around = out_rows if number == len(drains) - 1 else turns
        ports = time.read  # a drain's first row is at the ports as soon as a sum's first element at the memory
        drained = np.arange(out_rows)
        writes = space.touch(register, address + drained * config.ports, ports + drained + time.write)
        walked = [("port", ports, ports + around - 1)]
        jobs.append(Part([(0, Op.DRAIN, fields)], walked, writes=writes.whole, by_write=(writes,)))
        lags.append(last + time.sum + 1 - ports + number * turns)
    registers = frozenset([b[0] for b in beats] + [d[1] for d in drains]) - {0}
    return Job(jobs, lags, uses=registers, holds=True, multiplies=int(matrix.shape[0] * matrix.shape[1]), source=source)
