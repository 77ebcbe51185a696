"""A fixed-point graph to jobs and control: values stay sums as long as they can, and are stored where they must."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Graph, Node, Region, Value, ranges, smallest_type
from neuroloom.compiler.ir.graph import walk
from neuroloom.compiler.ir.types import Range
from neuroloom.compiler.passes.sink_branches import ALWAYS
from neuroloom.compiler.wire import answer_fields

from .code import Branch, Halt, Item, Main, Walk
from .forms import Clipped, Const, Emitted, Form, Lin, Prod, Spec
from .fuse import fuse_scans
from .isa import Op, Rounding
from .locate import Loc, signed_width
from .machine import Machine
from .naming import named
from .sink import sink_rows
from .streams import stream

Held = Loc | Form | Clipped | Emitted
"""A value while a graph is lowered."""

Handler = Callable[["Lowering", Node], None]
HANDLERS: dict[str, Handler] = {}
"""How each operation is lowered; filled by the ``ops_*`` modules."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register the decorated function for operations."""

    def register(handler: Handler) -> Handler:
        for name in names:
            HANDLERS[name] = handler
        return handler

    return register


class Lowering:
    """One graph on its way into a machine."""

    def __init__(self, graph: Graph, machine: Machine) -> None:
        self.bounds: dict[str, Range] = ranges(graph)
        graph, like = sink_rows(fuse_scans(graph))
        for inner, outer in like.items():
            self.bounds[inner] = self.bounds[outer]
        self.sunk = set(like)
        self.graph, self.machine = graph, machine
        self.values: dict[str, Value] = graph.values()
        self.env: dict[str, Held] = {}
        self.uses = _uses(graph)
        self.tables: dict[tuple[bytes, int], Range] = {}  # which part of each table is used by anybody
        for node in graph.walk():
            if node.op == "table":
                (lo, hi), key = self.bounds[node.inputs[0]], table_key(node)
                span = self.tables.get(key, (lo, hi))
                self.tables[key] = min(span[0], lo), max(span[1], hi)
        self.users: dict[str, list[Node]] = {}
        for node in graph.walk():
            for name in _inputs(node):
                self.users.setdefault(name, []).append(node)
        self.states: dict[str, Loc] = {}
        self.pending: list[tuple[str, Loc]] = []
        self.position = {id(node): number for number, node in enumerate(graph.walk())}
        self.last_read = self._last_reads()
        self.deferred: dict[str, Loc] = {}
        self.starts: dict[
            str, np.ndarray
        ] = {}  # what a state or a carried value is before the first step, where it is known
        self.leaves = any(node.op == "exit_when" for node in graph.walk())
        self.hints: dict[str, tuple[Loc, str]] = {}
        self.done: set[int] = set()
        self.remarks: list[str] = list(graph.records.get(ALWAYS, []))

    def _last_reads(self) -> dict[str, int]:
        """Where each state is read last, in the order of the nodes."""
        out: dict[str, int] = {}
        for node in self.graph.walk():
            reads = list(node.inputs[1:] if node.op == "update" else node.inputs)
            reads += [name for region in node.regions for name in region.results]
            for name in reads:
                out[name] = max(out.get(name, -1), self.position[id(node)])
        for output in self.graph.outputs:
            out[output.value] = len(self.position)
        return out

    # ------------------------------------------------------------------ the whole

    def run(self) -> list[Item]:
        """The program: reset of the states, then one sample or step."""
        machine = self.machine
        reset: list[Item] = []
        main: list[Item] = []
        with machine.block(reset):
            self.fill_banks()
        for node in self.graph.states:
            machine.source = node.where()
            init = node.attrs["init"].astype(np.int64)
            loc = machine.space.new(init.shape, self.bounds[node.name], node.where())
            self.states[node.name] = loc
            machine.space.write(loc, init)
            if node.attrs["lifetime"] == "sample":
                self.starts[node.name] = init
                with machine.block(reset):
                    machine.store(self.constant(init), loc)
        for node in self.graph.nodes:
            if node.op == "update":
                state, new = node.inputs
                self.hints[new] = (self.states[state], state)
        with machine.block(main):
            self.inputs()
            self.nodes(self.graph.nodes)
            self.finish([o.value for o in self.graph.outputs])
        return [*reset, Main(), *main]

    def fill_banks(self) -> None:
        """Banks of what is lowered from now on are filled here."""
        if self.machine.config.banks:
            self.machine.changes.prologue = Walk([], source=self.machine.source)
            self.machine.items.append(self.machine.changes.prologue)

    def inputs(self) -> None:
        """Take the sample."""
        stream(self.machine, Op.IN, None, first=True)
        for item in self.graph.inputs:
            self.machine.source = f"input %{item.name}"
            loc = self.machine.space.new(item.value.shape, item.range, self.machine.source)
            self.env[item.name] = loc
            stream(self.machine, Op.IN, loc)

    def finish(self, names: Sequence[str]) -> None:
        """Keep the new states, give the answer, end."""
        self.machine.source = "the outputs"
        locs = []
        for name, answer in zip(names, answer_fields(self.graph), strict=True):
            loc, bounds = self.loc(name), answer.type.range
            if self.machine.config.planes(signed_width(bounds)) != loc.parts:  # another exit gives wider values
                wide = self.machine.space.new(loc.addr.shape, bounds, self.machine.source)
                self.copy(loc, wide)
                loc = wide
            locs.append(replace(loc, bounds=bounds))
        places = {int(a) for state in self.states.values() for a in state.addr.ravel()}
        shown = any(not places.isdisjoint(loc.addr.ravel().tolist()) for loc in locs)
        if not shown:
            self.commit()
        stream(self.machine, Op.OUT, None, first=True)
        for loc in locs:
            stream(self.machine, Op.OUT, loc)
        stream(self.machine, Op.OUT, None, last=True)
        if shown:  # the old states are part of the answer
            self.commit()
        self.machine.items.append(Halt())

    def commit(self) -> None:
        """Write the new states over the old ones."""
        for name, loc in self.pending:
            self.copy(loc, self.states[name])
        for name, shadow in self.deferred.items():
            self.copy(shadow, self.states[name])

    # ------------------------------------------------------------------ nodes

    def nodes(self, nodes: Sequence[Node]) -> None:
        """Lower nodes in order."""
        for node in nodes:
            self.machine.source = node.where()
            handler = HANDLERS.get(node.op)
            if handler is None:
                raise UnsupportedError(
                    f"{node.where()}: the gated engine has no {node.op}; it has {', '.join(sorted(HANDLERS))}. "
                    "One-bit logic runs on the logic engine, spiking neurons on the spiking core"
                )
            with named(node):
                handler(self, node)
                self.done.add(id(node))
                self._settle(node)

    def _settle(self, node: Node) -> None:
        """Store what several nodes read."""
        for value in node.outputs:
            held = self.env.get(value.name)
            if held is None or isinstance(held, Loc) or self.uses[value.name] < 2 or _constant(held):
                continue
            if not self._cut_up(value, held):
                self.machine.source = node.where()
                self.loc(value.name)

    def _cut_up(self, value: Value, held: Held) -> bool:
        """Whether a sum is only cut into pieces that do not overlap, so that each piece may be computed where it is used."""
        users = self.users.get(value.name, [])
        return (
            isinstance(held, Form)
            and len(users) == self.uses[value.name]
            and all(node.op == "slice" for node in users)
            and sum(node.outputs[0].size for node in users) <= value.size
        )

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is stored inside is forgotten outside."""
        outer, self.env = self.env, dict(self.env)
        try:
            yield
        finally:
            self.env = outer

    def settle(self, regions: Sequence[Region], *, all_of: bool) -> None:
        """Store what regions read from outside, before them; ``all_of`` False: only what reads a state."""
        names = {n for region in regions for node in walk(region.nodes) for n in _reads(node)}
        names |= {n for region in regions for n in region.results}
        for name, held in list(self.env.items()):
            if isinstance(held, Loc) or _constant(held) or not self.uses[name]:
                continue
            if (all_of and name in names) or (not all_of and self._reads_state(held)):
                self.loc(name)

    def _reads_state(self, held: Form | Clipped | Emitted) -> bool:
        form = held if isinstance(held, Form) else held.form
        rows = {int(a) for loc in form.locs() for a in loc.addr.ravel()}
        return any(not rows.isdisjoint(state.addr.ravel().tolist()) for state in self.states.values())

    # ------------------------------------------------------------------ values

    def shape(self, name: str) -> tuple[int, ...]:
        """A value's shape."""
        return self.values[name].shape

    def constant(self, data: np.ndarray) -> Form:
        """Fixed integers."""
        bounds = (int(data.min()), int(data.max())) if data.size else (0, 0)
        return Form((Const(data),), data.shape, bounds, self.machine.source)

    def form(self, name: str) -> Form:
        """A value as a sum: the one it is, or the stored value."""
        held = self.env[name]
        if isinstance(held, Form):
            return held
        loc = self.loc(name)
        return Form((Lin(loc),), loc.addr.shape, loc.bounds, self.machine.source)

    def loc(self, name: str) -> Loc:
        """Where a value is stored; it is stored now where it is not."""
        held = self.env[name]
        if not isinstance(held, Loc):
            if isinstance(held, Form) and len(held.terms) == 1 and isinstance(held.terms[0], Const):
                data = np.broadcast_to(held.terms[0].values(), held.shape)
                stored = self.machine.space.new(held.shape, self.bounds[name], self.machine.source)
                self.machine.space.write(stored, data)
                held = stored
            else:
                held = self.machine.store(self.computable(held), self._in_place(name, held), name=f"%{name}")
            self.env[name] = held
        return held

    def _in_place(self, name: str, held: Held) -> Loc | None:
        """Where a new state may be written over the old one at once: nobody needs that any more, and its sum reads it in step."""
        if name not in self.hints or isinstance(held, Loc):
            return None
        dest, old = self.hints[name]
        users = self.users.get(old, [])
        if len(users) != self.uses[old] or any(id(node) not in self.done for node in users):
            return None
        if self.machine.config.planes(signed_width(self.bounds[name])) != dest.parts:
            return None
        places = set(dest.addr.ravel().tolist())

        def touches(loc: Loc) -> bool:
            return not places.isdisjoint(loc.addr.ravel().tolist())

        form = held if isinstance(held, Form) else held.form
        for term in form.terms:
            if isinstance(term, Const):
                continue
            whole = isinstance(term, (Lin, Prod)) and not term.reduced
            for loc in Form((term,), form.shape, form.bounds).locs():
                if touches(loc) and not (whole and loc.addr.shape == dest.addr.shape and (loc.addr == dest.addr).all()):
                    return None
        for other, waiting in list(self.env.items()):
            if other == name or isinstance(waiting, Loc) or _constant(waiting):
                continue
            after = self.users.get(other, [])
            if len(after) == self.uses[other] and all(id(node) in self.done for node in after):
                continue  # it went into another sum
            inner = waiting if isinstance(waiting, Form) else waiting.form
            if any(touches(loc) for loc in inner.locs()):
                self.loc(other)
        return dest

    def computable(self, held: Form | Clipped | Emitted) -> Form | Emitted:
        """Something that the machine can store: what is clipped to 0 is saturated, or multiplied by a bit where it is wide."""
        if not isinstance(held, Clipped):
            return held
        word = self.machine.config.word
        width = smallest_type((0, max(held.bounds[1], 1))).width
        if width < word:
            return Emitted(held.form, Spec(0, Rounding.FLOOR, False, width, False), held.bounds)
        stored = self.machine.store(held.form, name="a sum")
        form = Form((Lin(stored),), held.form.shape, held.form.bounds)
        bit = self.machine.store(Emitted(form, Spec(0, Rounding.FLOOR, False, 1, False), (0, 1)), name="its sign")
        return Form((Prod(bit, stored),), held.form.shape, held.bounds, held.form.source)

    def store_at(self, name: str, dest: Loc) -> None:
        """Bring a value to ``dest``: computed there where it is not stored yet."""
        held = self.env[name]
        if isinstance(held, Loc) or self.uses[name] > 1 and not _constant(held):
            self.copy(self.loc(name), dest)
        else:
            self.machine.store(self.computable(held), dest)

    def copy(self, source: Loc, dest: Loc) -> None:
        """Copy a value, digit by digit."""
        if (source.addr == dest.addr).all() and (source.reg == dest.reg).all():
            return
        for part in range(dest.parts):
            bounds = dest.bounds if part == dest.parts - 1 else (0, (1 << self.machine.config.digit) - 1)
            a = source.part(part) if part < source.parts else None
            if a is None or source.parts != dest.parts:
                self.machine.store(Form((Lin(source),), source.addr.shape, dest.bounds), dest)
                return
            one = dest.part(part)
            width = self.machine.config.word
            form = Form((Lin(Loc(a.addr, a.reg, 1, 0, bounds)),), a.addr.shape, bounds)
            spec = Spec(0, Rounding.FLOOR, True, width, True)
            self.machine.store(Emitted(form, spec, bounds), Loc(one.addr, one.reg, 1, 0, bounds))

    def set(self, node: Node, held: Held, number: int = 0) -> None:
        """Define an output of a node."""
        self.env[node.outputs[number].name] = held

    def broadcast(self, name: str, shape: tuple[int, ...]) -> Loc:
        """A stored value broadcast to a shape, which costs nothing."""
        return self.loc(name).map(lambda x: np.broadcast_to(x, shape))


def _constant(held: Held) -> bool:
    return isinstance(held, Form) and all(isinstance(t, Const) for t in held.terms)


def _inputs(node: Node) -> tuple[str, ...]:
    """What a node reads itself; an update does not read the state that it writes."""
    return node.inputs[1:] if node.op == "update" else node.inputs


def _reads(node: Node) -> list[str]:
    return [*_inputs(node), *(r for region in node.regions for r in region.results)]


def _uses(graph: Graph) -> Counter[str]:
    uses: Counter[str] = Counter()
    for node in graph.walk():
        uses.update(_reads(node))
    uses.update(o.value for o in graph.outputs)
    return uses


def branch(items: list[Item], loc: Loc, bodies: list[list[Item]], source: str) -> None:
    """Append a choice of bodies by a stored integer."""
    items.append(Branch(int(loc.addr.flat[0]), int(loc.reg.flat[0]), bodies, source))


def table_key(node: Node) -> tuple[bytes, int]:
    """What tables have in common that are stored once."""
    return node.attrs["entries"].astype(np.int64).tobytes(), node.attrs["lo"]
