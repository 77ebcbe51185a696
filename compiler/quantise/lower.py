"""Turns a real program into a graph: exact sums and products, rounded to a calibrated format only where a width must end.

A value of the program is carried as an exact integer of whatever width its operation gives (*raw*), and rounded (*settled*) where
a consumer needs a bounded width: weights' inputs, factors, table addresses, memory, outputs. So a gate's pre-activation
W x + U h + b is rounded once, to the address of its table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.errors import GraphError, UnsupportedError
from neuroloom.compiler.ir import Affine, Builder, Graph, Region, Type, smallest_type
from neuroloom.compiler.real.program import Program, RealNode, RealRegion, RealValue

from .added import added_products
from .config import Config, Rules
from .formats import Grid, choose, integers, point, signed_or_not
from .observe import Observed, merged

MAX_RAW = 48
"""Widest sum that stays exact; operands of a wider one are rounded to their formats first."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A value of the graph that stands exactly for a value of the program: real = q * 2**-frac * factor, frac its type's."""

    name: str
    factor: Fraction = Fraction(1)
    grid: bool = False
    """The model itself says these integers: nothing that is computed from them may be rounded until it says so."""


@dataclass(slots=True)
class Sent:
    """What the layers of a loop hand on by :mod:`rules_delta`: carried from step to step, from number ``first`` on."""

    first: int
    values: list[str] = field(default_factory=list)


Rule = Callable[["Lowering", RealNode], None]
RULES: dict[str, Rule] = {}
"""How each operation of a program becomes nodes of the graph; a rule defines all outputs of its node."""


def lowering(*names: str) -> Callable[[Rule], Rule]:
    """Register the decorated function for operations of the program."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


class Lowering:
    """The graph under construction, and what the values of the program have become."""

    def __init__(
        self, program: Program, observed: Mapping[str, Observed], config: Config, grids: Mapping[str, Grid]
    ) -> None:
        self.program, self.observed, self.config, self.grids = program, observed, config, grids
        self.builder = Builder(program.name, clocked=program.clocked)
        self.values: dict[str, RealValue] = program.values()
        self.sources = {v.name: node.source for node in program.walk() for v in node.outputs}
        self.consts = {n.name: n.attrs["data"] for n in program.walk() if n.op == "const"}
        self.raws: dict[str, Raw] = {}
        self.memo: list[dict[tuple[Any, ...], str]] = [{}]
        self.formats: dict[str, Type] = {}
        self.centred: dict[str, tuple[str, int]] = {}
        """Quantised values before their zero point is added, and the zero point."""
        self.sums = added_products(program)
        self.sending: list[Sent | None] = []
        """Of each region around: what a loop's layers hand on; None for a branch."""
        self.source = ""

    # ---- the walk

    def run(self) -> Graph:
        """Lower inputs, nodes and outputs; returns the verified graph."""
        shown = {o.name: self.values[o.value] for o in self.program.outputs}
        states = self.program.states
        from .rules_grid import border

        for value in self.program.signals:
            if value.kind != "real" or not border(self, value):
                self.input(value)
        for name, output in states.items():
            self.state(self.values[name], shown[output])
        self.block(self.program.nodes)
        for name, output in states.items():
            self.source = self.sources.get(shown[output].name, "")
            self.builder.update(self.raws[name].name, self.memory_form(name, shown[output]), source=self.source)
        others = [n for n in shown if n not in states.values()]
        for name in others or shown:
            self.output(name, shown[name])
        return self.builder.finish()

    def state(self, value: RealValue, after: RealValue) -> None:
        """Memory of a clocked network, 0 at first, in the format that holds it before and after a step."""
        if value.kind == "real":
            rules = self.rules(value.name)
            seen = merged([self.seen(value.name), self.seen(after.name)])
            type_ = self.formats[value.name] = rules.type or choose(seen, rules.bits, rules)
            self.formats[after.name] = self.config.at([self.sources.get(after.name, ""), after.name]).type or type_
        else:
            type_ = Type(1) if value.kind == "bit" else smallest_type(value.bounds or (0, 0))
        self.define(value.name, self.builder.state(np.zeros(value.shape, np.int64), type_, "sample", name=value.name))

    def memory_form(self, name: str, after: RealValue) -> str:
        """The next value of a state in the state's type."""
        type_ = self.builder[self.raws[name].name].type
        if after.kind == "real":
            return self.settle(after.name, type_)
        value = self.integer(after.name)
        return self.requantize(value, type_, Fraction(1), f"{after.name}.kept")

    def block(self, nodes: Sequence[RealNode]) -> None:
        """Lower nodes in order."""
        for node in nodes:
            if node.op == "const":
                continue  # put into the graph where it is used, in the format that its reader needs
            self.source = node.source
            try:
                RULES[node.op](self, node)
            except GraphError as e:
                raise UnsupportedError(f"{node.where()}: value {node.name!r} cannot be carried: {e}") from e

    def region(
        self,
        region: RealRegion,
        results: Callable[[], Sequence[str]],
        start: Callable[[], None] | None = None,
        sent: Sent | None = None,
    ) -> Region:
        """Lower a region in a scope of its own: what is rounded inside is not seen outside. ``sent``: it is a loop's."""
        self.memo.append({})
        self.sending.append(sent)
        try:

            def body() -> Sequence[str]:
                if start is not None:
                    start()
                self.block(region.nodes)
                return results()

            return self.builder.region(body)
        finally:
            self.memo.pop()
            self.sending.pop()

    def input(self, value: RealValue) -> None:
        """An input: reals on their grid or in their calibrated format, with the rule that says what the integers mean."""
        if value.name in self.grids:
            self.raws[value.name] = self.on_grid(value, self.grids[value.name])
            return
        if value.kind == "real":
            type_ = self.format(value.name)
            affine = Affine.of(Fraction(2) ** -type_.frac)
        else:
            if value.bounds is None:
                raise UnsupportedError(
                    f"input {value.name!r} must have bounds; give --input-bounds {value.name}=LO..HI"
                )
            type_, affine = smallest_type(value.bounds), Affine()
        bounds = value.bounds if value.kind == "int" and value.bounds != type_.range else None
        self.raws[value.name] = Raw(self.builder.input(value.name, type_, value.shape, affine=affine, bounds=bounds))

    def on_grid(self, value: RealValue, grid: Grid) -> Raw:
        """An input that is given in integers; nothing of it is lost."""
        steps = grid.offset / grid.scale
        if steps.denominator != 1:
            raise UnsupportedError(
                f"input {value.name!r} must have an offset that is a multiple of its scale, not {grid.offset} with {grid.scale}; "
                "leave the offset to the network's first layer"
            )
        affine = Affine.of(grid.scale, grid.offset)
        name = self.builder.input(value.name, grid.type, value.shape, affine=affine, bounds=grid.bounds)
        if steps:
            count = np.array(steps.numerator, np.int64)
            type_ = smallest_type((int(count), int(count)))
            name = self.emit("add", [name, self.const(count, type_, f"{value.name}.zero")], f"{value.name}.shifted")
        return Raw(name, grid.scale)

    def output(self, name: str, value: RealValue) -> None:
        """An output: reals rounded to their format, integers and bits as they are."""
        if value.kind == "real":
            self.source = self.sources.get(value.name, "")
            if not self.is_const(value.name) and self.raws[value.name].grid:
                raw = self.raws[value.name]
                self.builder.output(
                    name, raw.name, Affine.of(raw.factor / Fraction(2) ** self.builder[raw.name].type.frac)
                )
                return
            shown = self.settle(value.name)
            self.builder.output(name, shown, Affine.of(Fraction(2) ** -self.builder[shown].type.frac))
        else:
            self.builder.output(name, self.integer(value.name))

    # ---- formats

    def rules(self, name: str) -> Rules:
        """The configured choices for a value."""
        return self.config.at([self.sources.get(name, ""), name])

    def seen(self, name: str) -> Observed:
        """What calibration saw of a value (nothing of an empty one); UnsupportedError where there was no calibration."""
        if not self.values[name].size:
            return Observed(0.0, 0.0)
        if name not in self.observed:
            raise UnsupportedError(
                f"node {(self.sources.get(name) or name)!r}: value {name!r} is a real number that the model does not quantise; "
                "give samples to calibrate with (--calibrate DATA.npz)"
            )
        return self.observed[name]

    def format(self, name: str) -> Type:
        """The calibrated or configured type of a real value."""
        if name not in self.formats:
            rules = self.rules(name)
            self.formats[name] = rules.type or choose(self.seen(name), rules.bits, rules)
        return self.formats[name]

    # ---- emitting

    def emit(self, op: str, inputs: Sequence[str], name: str, **attrs: Any) -> str:
        """Append a node for the source node in work."""
        return self.builder.node(op, inputs, name=name, source=self.source, **attrs)

    def define(self, name: str, graph_value: str, factor: Fraction = Fraction(1), *, grid: bool = False) -> None:
        """Say which graph value stands for a value of the program."""
        self.raws[name] = Raw(graph_value, factor, grid)

    def const(self, data: np.ndarray, type_: Type, name: str) -> str:
        """Append a constant of integers, saturated to ``type_``."""
        return self.builder.const(np.clip(data, type_.lo, type_.hi), type_, name=name, source=self.source)

    def requantize(self, graph_value: str, type_: Type, factor: Fraction, name: str, rules: Rules | None = None) -> str:
        """Round to ``type_``; ``factor`` is between the integers. Exact changes of the binary point round nothing."""
        old = self.builder[graph_value].type
        if factor == 1 and old == type_:
            return graph_value
        rules = rules or Rules()
        return self.emit(
            "requantize",
            [graph_value],
            name,
            type=str(type_),
            factor=str(factor),
            rounding=rules.rounding,
            overflow=rules.overflow,
        )

    # ---- values in the forms that consumers need

    def raw(self, name: str) -> Raw:
        """The exact value; a constant is put into the graph in the finest format of its width."""
        if name in self.consts and name not in self.raws:
            return Raw(self.constant(name, self.rules(name).bits))
        return self.raws[name]

    def constant(self, name: str, bits: int) -> str:
        """A constant of the program in ``bits`` bits."""
        data = self.consts[name]
        lo, hi = (float(data.min()), float(data.max())) if data.size else (0.0, 0.0)
        rules = self.rules(name)
        type_ = rules.type or signed_or_not(point(lo, hi, bits), bits, lo)
        return self.shared(("const", name, type_), lambda: self.const(integers(data, type_.frac), type_, name))

    def shared(self, key: tuple[Any, ...], make: Callable[[], str]) -> str:
        """The graph value made for ``key`` in this region or around it, else a new one."""
        for scope in reversed(self.memo):
            if key in scope:
                return scope[key]
        made = self.memo[-1][key] = make()
        return made

    def settle(self, name: str, type_: Type | None = None, tag: str = "") -> str:
        """The value rounded to ``type_`` (its own format when None)."""
        target = type_ or self.format(name)
        if name in self.consts and name not in self.raws:
            data = self.consts[name]
            return self.shared(("const", name, target), lambda: self.const(integers(data, target.frac), target, name))
        raw = self.raws[name]
        factor = Fraction(2) ** (target.frac - self.builder[raw.name].type.frac) * raw.factor
        hint = f"{name}.{tag}" if tag else name
        return self.shared(
            ("settled", name, target), lambda: self.requantize(raw.name, target, factor, hint, self.rules(name))
        )

    def factor(self, name: str) -> str:
        """The value as an operand of a product: exact when it is no wider than its rules' bits, else rounded to its format."""
        if name in self.consts and name not in self.raws:
            return self.constant(name, self.rules(name).bits)
        raw, bits = self.raws[name], self.rules(name).bits
        if raw.factor == 1 and self.builder[raw.name].type.width <= bits:
            return raw.name
        return self.settle(name)

    def stored(self, name: str) -> Raw:
        """The value as it can be kept: exact where the model says its integers, or they are narrow enough, else rounded."""
        raw = self.raw(name)
        return raw if raw.grid else Raw(self.factor(name))

    def compared(self, names: Sequence[str]) -> list[str]:
        """The values on one binary point, in words: wide sums are rounded, none more finely than the coarsest of them."""
        wide = [n for n in names if not self.is_const(n) and self.factor(n) != self.raws[n].name]
        if not wide:
            return self.common(names)
        fracs = [self.builder[self.factor(n)].type.frac for n in names if not self.is_const(n)]
        out = []
        for n in names:
            if self.is_const(n):
                out.append(self.at_frac(n, min(fracs), None))
            else:
                out.append(self.settle(n, Type(self.rules(n).bits, True, min(fracs)), "compared"))
        return out

    def integer(self, name: str) -> str:
        """A value that is integers or bits."""
        if name in self.consts and name not in self.raws:
            data = self.consts[name].astype(np.int64)
            type_ = Type(1) if self.values[name].kind == "bit" else None
            return self.shared(("const", name), lambda: self.builder.const(data, type_, name=name, source=self.source))
        return self.raws[name].name

    def common(self, names: Sequence[str]) -> list[str]:
        """The values with the same fraction bits, exactly; rounded to their formats first where that would be too wide."""
        known = [self.exact(n) for n in names if not self.is_const(n)]
        fracs = [self.builder[k].type.frac for k in known]
        if known and max(fracs) - min(fracs) + max(self.builder[k].type.width for k in known) > MAX_RAW:
            known = [self.settle(n) for n in names if not self.is_const(n)]
            fracs = [self.builder[k].type.frac for k in known]
        frac = max(fracs, default=0)
        for n in names:
            if self.is_const(n):
                frac = max(frac, min(self.constant_frac(n), frac + 8 if known else MAX_RAW))
        rest = iter(known)
        return [self.at_frac(n, frac, None if self.is_const(n) else next(rest)) for n in names]

    def is_const(self, name: str) -> bool:
        """Whether the value is a constant of the program."""
        return name in self.consts and name not in self.raws

    def constant_frac(self, name: str) -> int:
        """Fraction bits that a constant gets by itself: none when it is integers."""
        data = self.consts[name]
        if not data.size or (data == np.rint(data)).all():
            return 0
        return point(float(data.min()), float(data.max()), self.rules(name).bits)

    def exact(self, name: str) -> str:
        """The raw value when its meaning is a power of two, else rounded to its format."""
        raw = self.raws[name]
        return raw.name if raw.factor == 1 else self.settle(name)

    def at_frac(self, name: str, frac: int, graph_value: str | None) -> str:
        """The same numbers with ``frac`` fraction bits, at least as many as they have."""
        if graph_value is None:
            data = integers(self.consts[name], frac)
            return self.shared(
                ("const", name, frac),
                lambda: self.builder.const(data, _framed(data, frac), name=name, source=self.source),
            )
        return self.finer(graph_value, frac)

    def finer(self, graph_value: str, frac: int) -> str:
        """A graph value with more fraction bits, exactly."""
        old = self.builder[graph_value].type
        if old.frac == frac:
            return graph_value
        lo, hi = self.builder.ranges[graph_value]
        shift = frac - old.frac
        type_ = smallest_type((lo << shift, hi << shift), frac)
        return self.shared(
            ("finer", graph_value, frac),
            lambda: self.requantize(graph_value, type_, Fraction(2) ** shift, f"{graph_value}.aligned"),
        )


def _framed(data: np.ndarray, frac: int) -> Type:
    bounds = (int(data.min()), int(data.max())) if data.size else (0, 0)
    return smallest_type(bounds, frac)
