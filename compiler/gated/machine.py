"""Makes jobs of sums: which lanes, which addresses, which weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.ir.types import Range

from .changes import Changes, changed_sum, split
from .code import Item, Job, Loop, Part
from .core import GatedConfig
from .digits import DigitSums
from .forms import Const, Emitted, Form, Lin, Mat, Spec, Term
from .isa import Op, Rounding
from .locate import Loc, Space, signed_width
from .pieces import Piece, affine_pieces
from .sums import Weights, mac_job

ROWS_PER_ROUND = 8
"""Rows of a matrix product in one round of a loop."""

UNROLLED = 4
"""Loops of at most so many rounds are written out."""


class Machine(DigitSums):
    """Where jobs are appended while a graph is lowered."""

    def __init__(self, config: GatedConfig, space: Space) -> None:
        self.config, self.space = config, space
        self.weights = Weights(config)
        self.tables: list[int] = []
        self._table_at: dict[bytes, int] = {}
        self.items: list[Item] = []
        self.level = 0
        self.source = ""
        self.picked: Loc | None = None
        self.changes = Changes()
        self._multiples: dict[tuple[bytes, int, int], tuple[Loc, list[Item], int]] = {}

    # ------------------------------------------------------------------ control

    @contextmanager
    def block(self, items: list[Item]) -> Iterator[None]:
        """Append to ``items`` inside."""
        outer, self.items = self.items, items
        try:
            yield
        finally:
            self.items = outer

    @contextmanager
    def loop(self, count: int, strides: list[tuple[int, int]]) -> Iterator[list[int]]:
        """A loop; ``strides``: for each moving address the register that it starts from and what each round adds.

        Gives the register of each. Raises UnsupportedError when loops are nested too deep.
        """
        if self.level >= self.config.levels:
            raise UnsupportedError(
                f"{self.source}: loops must be nested at most {self.config.levels} deep; unroll the inner ones"
            )
        registers: list[int] = []
        known: dict[tuple[int, int], int] = {}
        for base, stride in strides:
            if (base, stride) not in known:
                outer = self.space.registers[base]
                reach = stride * (count - 1)
                step = int(np.gcd(outer.step, abs(stride)))
                number = self.space.register(outer.lo + min(reach, 0), outer.hi + max(reach, 0), step)
                known[base, stride] = number
                self.items.append(_off(number, base, 0))
            registers.append(known[base, stride])
        body: list[Item] = []
        self.items.append(Loop(self.level, count, body))
        self.level += 1
        with self.block(body):
            yield registers
            for (_, stride), number in known.items():
                if stride:
                    self.items.append(_off(number, number, stride))
        self.level -= 1
        for number in known.values():
            self.space.free_register(number)

    # ------------------------------------------------------------------ tables

    def table(self, entries: np.ndarray) -> int:
        """Where a table of these words begins; raises DoesNotFitError."""
        key = entries.astype(np.int64).tobytes()
        if key not in self._table_at:
            self._table_at[key] = len(self.tables)
            self.tables += [int(e) for e in entries]
            if len(self.tables) > self.config.table_words:
                raise DoesNotFitError(
                    f"tables of profile {self.config.profile!r} must hold {len(self.tables):,} words up to {self.source}, and have "
                    f"{self.config.table_words:,}; requantize the activations' inputs to fewer bits"
                )
        return self._table_at[key]

    # ------------------------------------------------------------------ sums

    def store(
        self,
        value: Form | Emitted,
        dest: Loc | None = None,
        name: str = "a value",
        *,
        shift: int = 0,
        result: Range | None = None,
    ) -> Loc:
        """Compute a sum into ``dest``, or into new memory; shifted right by ``shift`` bits first, with the range ``result``."""
        form, spec = (value.form, value.spec) if isinstance(value, Emitted) else (value, None)
        bounds = value.bounds if result is None else result
        if spec is not None:
            form, spec = _without_common_shift(form, spec)
        terms = form.terms if _added_to_others(form) else tuple(map(self._scaled, form.terms))
        form = replace(form, terms=self._merged(terms, form.shape))
        mats = [t for t in form.terms if isinstance(t, Mat)]
        if mats:
            alone = len(form.terms) == 1
            ready = self._simple(mats[0]) if alone else None
            if alone and ready is not None:
                return self._store_mat(ready, form, spec, bounds, dest, name, shift)
            # part of a larger sum: stored by itself, then added
            parts: list[Term] = [t for t in form.terms if not isinstance(t, Mat)]
            for mat in mats:
                parts += self._split_mat(mat, form)
            form = replace(form, terms=tuple(parts))
        if dest is None:
            dest = self.space.new(form.shape, bounds, name)
        self.element_sum(form, dest, self.parts_of(spec, dest, bounds, shift))
        return replace(dest, bounds=bounds)

    def parts_of(self, spec: Spec | None, dest: Loc, bounds: Range, shift: int = 0) -> list[tuple[int, Spec]]:
        """How each digit of the result leaves."""
        if spec is not None and (spec.table or dest.parts == 1):
            return [(0, spec)]
        if spec is not None:
            raise UnsupportedError(
                f"{self.source}: requantize must give at most {self.config.word} bits in two's complement, the word of profile "
                f"{self.config.profile!r}, not {signed_width(bounds)}; choose a narrower type, or a board with wider words"
            )
        digit, last = self.config.digit, dest.parts - 1
        out = [(p, Spec(shift + p * digit, Rounding.FLOOR, True, digit, False)) for p in range(last)]
        return [*out, (last, Spec(shift + last * digit, Rounding.FLOOR, True, self.config.word, True))]

    def _simple(self, mat: Mat) -> Mat | None:
        """The product of matrix and vector as one sum of the lanes; None when digits must be combined."""
        weights = mat.weights.astype(object) * mat.coef
        limit = 1 << self.config.weight - 1
        if mat.x.parts > 1 or max(int(weights.max()), -1 - int(weights.min())) >= limit:
            return None
        return replace(mat, weights=weights.astype(np.int64), bias=mat.bias.astype(object) * mat.coef, coef=1)

    def _scaled(self, term: Term) -> Term:
        """A product whose factor fits the input but not the weights: elements are multiplied, once for all such products."""
        if not isinstance(term, Mat) or term.coef == 1 or term.x.parts > 1 or self._simple(term) is not None:
            return term
        lo, hi = sorted(end * term.coef for end in term.x.bounds)
        if signed_width((lo, hi)) > self.config.word or self._simple(replace(term, coef=1)) is None:
            return term
        places, back = np.unique(term.x.addr, return_inverse=True)
        register = int(term.x.reg.flat[0])
        if (term.x.reg != register).any():
            return term
        key = places.tobytes(), register, term.coef
        made, items, since = self._multiples.get(key, (None, self.items, 0))
        if made is None or items is not self.items or self._changed(since, places, register):
            source = Loc(places, np.full_like(places, register), 1, 0, term.x.bounds)
            form = Form((Lin(source, term.coef),), places.shape, (lo, hi), self.source)
            made = self.store(form, name="a multiple")
            self._multiples[key] = made, self.items, len(self.items)
        x = made.map(lambda a: a[back.reshape(term.x.addr.shape)])
        return Mat(x, term.weights, term.bias.astype(object) * term.coef)

    def _changed(self, since: int, places: np.ndarray, register: int) -> bool:
        """Whether what was appended since then may write to these addresses, or move the register."""
        reach = self.space.span(places, np.full_like(places, register))[0]
        lo, hi = reach[0] // self.config.ports, reach[1] // self.config.ports
        for item in self.items[since:]:
            if not isinstance(item, Job) or register in item.sets:
                return True
            if any(((part.writes.rows >= lo) & (part.writes.rows <= hi)).any() for part in item.parts):
                return True
        return False

    def _merged(self, terms: tuple[Term, ...], shape: tuple[int, ...]) -> tuple[Term, ...]:
        """Matrix products that the lanes can sum in one go as one, with constants per output as its bias."""
        simple = [(t, self._simple(t)) for t in terms if isinstance(t, Mat)]
        ready = [s for _, s in simple if s is not None]
        if not ready:
            return terms
        others: list[Term] = [t for t, s in simple if s is None]
        listed, ready = split(self, ready)
        if listed and ready:  # the one's sums stay, the other's begin anew
            return (
                *self._merged(tuple(ready), shape),
                *self._merged((*listed, *(t for t in terms if not isinstance(t, Mat))), shape),
                *others,
            )
        ready = listed or ready
        first = ready[0]
        x, reg = (np.concatenate([getattr(r.x, name) for r in ready], axis=-1) for name in ("addr", "reg"))
        matrix = np.concatenate([r.weights for r in ready], axis=1)
        bias = sum((r.bias.astype(object) for r in ready), np.zeros(len(first.bias), object))
        for term in terms:
            if isinstance(term, Mat):
                continue
            data = None
            if isinstance(term, Const):
                rows = np.broadcast_to(term.values(), shape).reshape(-1, len(bias))
                data = rows[0] if len(rows) and (rows == rows[:1]).all() else None
            if data is None:
                others.append(term)
            else:
                bias = bias + data
        bounds = min(r.x.bounds[0] for r in ready), max(r.x.bounds[1] for r in ready)
        joined = replace(first.x, addr=x, reg=reg, bounds=bounds)
        return (Mat(joined, matrix, bias), *others)

    def _split_mat(self, mat: Mat, form: Form) -> list[Term]:
        """A matrix product as a sum of stored ones: one for each digit of the input and of the weights."""
        digit, step = self.config.digit, self.config.weight - 1
        out: list[Term] = []
        rest, shift = mat.weights.astype(object), 0
        pieces: list[tuple[np.ndarray, int]] = []
        while max(int(rest.max()), -1 - int(rest.min())) >= 1 << step:
            pieces.append(((rest & (1 << step) - 1).astype(np.int64), shift))
            rest, shift = rest >> step, shift + step
        pieces.append((rest.astype(np.int64), shift))
        bias = mat.bias.astype(object)
        for part in range(mat.x.parts):
            last = part == mat.x.parts - 1
            x = mat.x.part(part)
            lo, hi = (
                (mat.x.bounds[0] >> part * digit, mat.x.bounds[1] >> part * digit) if last else (0, (1 << digit) - 1)
            )
            for weights, place in pieces:
                one = Mat(replace(x, bounds=(lo, hi)), weights, bias)
                bias = np.zeros(len(bias), object)
                high = (
                    np.maximum(weights, 0).astype(object).sum(axis=1),
                    np.minimum(weights, 0).astype(object).sum(axis=1),
                )
                bounds = (
                    int(min(high[0] * lo + high[1] * hi + one.bias)),
                    int(max(high[0] * hi + high[1] * lo + one.bias)),
                )
                shape = (*mat.x.addr.shape[:-1], len(weights))
                stored = self._store_mat(
                    one, Form((one,), shape, bounds, form.source), None, bounds, None, "a partial sum"
                )
                out.append(Lin(stored, mat.coef << part * digit + place))
        return out

    def _store_mat(
        self, mat: Mat, form: Form, spec: Spec | None, bounds: Range, dest: Loc | None, name: str, shift: int = 0
    ) -> Loc:
        width = signed_width(form.bounds)
        if width > self.config.acc:
            raise UnsupportedError(
                f"{form.source or self.source}: the sum needs {width} bits and an accumulator of profile {self.config.profile!r} "
                f"has {self.config.acc}; requantize its input or its weights to fewer bits"
            )
        if dest is None or not self._drainable(dest):
            target = self._padded(form.shape, bounds, name)
        else:
            target = dest
        parts = self.parts_of(spec, target, bounds, shift)
        outer, self.source = self.source, form.source or self.source  # who made the sum, not who reads it
        self._mat_rows(mat, target, parts)
        self.source = outer
        result = replace(target, bounds=bounds)
        if dest is not None and target is not dest:
            return self.store(Form((Lin(result),), form.shape, bounds), dest)
        return result

    def _mat_rows(self, mat: Mat, target: Loc, parts: list[tuple[int, Spec]]) -> None:
        """The product for every row of the input (every window of a convolution), in loops where all rows look alike."""
        if changed_sum(self, mat, target, parts):
            return
        size, outs = mat.x.addr.shape[-1], len(mat.weights)
        x, x_reg = mat.x.addr.reshape(-1, size), mat.x.reg.reshape(-1, size)
        out, out_reg = target.addr.reshape(-1, outs), target.reg.reshape(-1, outs)
        alike = all((a - a[:, :1] == a[:1] - a[:1, :1]).all() for a in (x, out)) and all(
            (r == r[:1, :1]).all() for r in (x_reg, out_reg)
        )
        if len(x) <= UNROLLED or not alike:
            for row in range(len(x)):
                self._mat_jobs(mat, x[row], x_reg[row], out[row], out_reg[row], parts, target)
            return
        apart_x, apart_out = x[0] - x[0, 0], out[0] - out[0, 0]

        def one(start: tuple[int, ...], regs: tuple[int, ...]) -> None:
            addrs = apart_x + start[0], apart_out + start[1]
            full = [np.full_like(a, r) for a, r in zip(addrs, regs, strict=True)]
            self._mat_jobs(mat, addrs[0], full[0], addrs[1], full[1], parts, target)

        def nest(piece: Piece, depth: int, regs: tuple[int, ...]) -> None:
            count, step = piece.dims[depth], piece.strides[depth]
            if depth < len(piece.dims) - 1:
                with self.loop(count, list(zip(regs, step, strict=True))) as inner:
                    nest(piece, depth + 1, tuple(inner))
                return
            # several rows a round, so that one is drained while the next is summed
            turns = count // ROWS_PER_ROUND if count >= 2 * ROWS_PER_ROUND else 0
            if turns:
                moves = [(r, s * ROWS_PER_ROUND) for r, s in zip(regs, step, strict=True)]
                with self.loop(turns, moves) as inner:
                    for row in range(ROWS_PER_ROUND):
                        one(tuple(a + row * s for a, s in zip(piece.start, step, strict=True)), tuple(inner))
            for row in range(turns * ROWS_PER_ROUND, count):
                one(tuple(a + row * s for a, s in zip(piece.start, step, strict=True)), regs)

        places = [mat.x.addr[..., 0], target.addr[..., 0]]
        for piece in affine_pieces(places, [mat.x.reg[..., 0], target.reg[..., 0]]):
            nest(piece, 0, piece.regs)

    def _padded(self, shape: tuple[int, ...], bounds: Range, name: str) -> Loc:
        size = self.config.ports
        wide = self.space.new((*shape[:-1], -(-shape[-1] // size) * size), bounds, name)
        return wide.map(lambda a: a[..., : shape[-1]])

    def _drainable(self, dest: Loc) -> bool:
        """Whether sums can be drained right into it: consecutive along the last axis, from the beginning of a row on."""
        size = self.config.ports
        rows, regs = dest.addr.reshape(-1, dest.addr.shape[-1]), np.unique(dest.reg)
        straight = (
            (np.diff(rows, axis=1) == 1).all() and (rows[:, 0] % size == 0).all() and dest.part_stride % size == 0
        )
        return bool(straight) and len(regs) == 1 and self.space.aligned(int(regs[0]), size)

    def _mat_jobs(
        self,
        mat: Mat,
        x: np.ndarray,
        x_reg: np.ndarray,
        out: np.ndarray,
        out_reg: np.ndarray,
        parts: list[tuple[int, Spec]],
        target: Loc,
    ) -> None:
        size = self.config.per_group
        for at in range(0, len(mat.weights), size):
            block = slice(at, at + size)
            drains = [(int(out[at]) + p * target.part_stride, int(out_reg[at]), spec) for p, spec in parts]
            self.items.append(
                mac_job(
                    *(self.config, self.space, self.weights, x, x_reg, mat.weights[block], mat.bias[block], drains),
                    source=self.source,
                )
            )


def _added_to_others(form: Form) -> bool:
    """Whether a sum's one matrix product is stored and then added to something else, which takes it times its factor."""
    others = [t for t in form.terms if not isinstance(t, (Mat, Const))]
    return bool(others) and len(form.terms) - len(others) - sum(isinstance(t, Const) for t in form.terms) == 1


def _off(register: int, source: int, add: int) -> Job:
    """The job of an OFF."""
    fields = {"reg": register, "src": source, "imm": add}
    return Job(
        [Part([(0, Op.OFF, fields)], [])],
        uses=frozenset({source, register}) - {0},
        sets=frozenset({register}),
    )


def _without_common_shift(form: Form, spec: Spec) -> tuple[Form, Spec]:
    """Coefficients divided by the power of two that all share, and as much less shift afterwards."""
    if not spec.shift or not form.terms:
        return form, spec
    common = spec.shift
    for term in form.terms:
        values = [term.coef] if not isinstance(term, Const) else (term.values()).ravel().tolist()
        for value in values:
            if value:
                common = min(common, (value & -value).bit_length() - 1)
    if not common:
        return form, spec
    terms: list[Term] = []
    for term in form.terms:
        if isinstance(term, Const):
            terms.append(Const((term.values()) >> common))
        else:
            terms.append(replace(term, coef=term.coef >> common))
    bounds = form.bounds[0] >> common, form.bounds[1] >> common
    return replace(form, terms=tuple(terms), bounds=bounds), replace(spec, shift=spec.shift - common)
