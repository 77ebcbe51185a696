"""Lowering of state, choice and loops: what is not chosen is not run, and takes no cycles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from neuroloom.compiler.ir import Node, Value

from .code import Item
from .forms import Const, Emitted, Form, Lin, Spec
from .isa import Op, Rounding, limits
from .locate import Loc, signed_width
from .lower import Lowering, branch, handles
from .picks import pick_job, pick_without_ranks


@handles("state")
def state(low: Lowering, node: Node) -> None:
    """Where the state is."""
    low.set(node, low.states[node.name])


@handles("update")
def update(low: Lowering, node: Node) -> None:
    """Written when the step ends, so that everybody reads the old value."""
    name, new = node.inputs
    low.pending.append((name, low.loc(new)))


@handles("when", "switch")
def choice(low: Lowering, node: Node) -> None:
    """Only the chosen region runs. States that it updates are written as it ends, or at the step's end if they are read later."""
    machine = low.machine
    index = low.loc(node.inputs[0])
    low.settle(node.regions, all_of=False)
    results = [machine.space.new(v.shape, low.bounds[v.name], node.where()) for v in node.outputs]
    here = low.position[id(node)]
    last_inside = max((low.position[id(n)] for r in node.regions for n in _all(r.nodes)), default=here)
    updated = {n.inputs[0] for r in node.regions for n in _all(r.nodes) if n.op == "update"}
    for name in updated:
        if low.last_read.get(name, -1) > last_inside and name not in low.deferred:
            shadow = machine.space.new(low.shape(name), low.bounds[name], node.where())
            low.copy(low.states[name], shadow)
            low.deferred[name] = shadow
    bodies: list[list[Item]] = []
    for region in node.regions:
        body: list[Item] = []
        outer, low.pending = low.pending, []
        with low.scope(), machine.block(body):
            low.nodes(region.nodes)
            for name, dest in zip(region.results, results, strict=True):
                machine.source = node.where()
                low.store_at(name, dest)
            for name, new in low.pending:
                low.copy(new, low.deferred.get(name, low.states[name]))
        low.pending = outer
        bodies.append(body)
    if node.op == "when":
        bodies.reverse()  # the first region belongs to 1
    branch(machine.items, index, bodies, node.where())
    for number, loc in enumerate(results):
        low.set(node, loc, number)


def _all(nodes: list[Node]) -> list[Node]:
    from neuroloom.compiler.ir.graph import walk

    return list(walk(nodes))


@handles("exit_when")
def exit_when(low: Lowering, node: Node) -> None:
    """The answer and the end of the run, where the condition is 1."""
    cond = low.loc(node.inputs[0])
    body: list[Item] = []
    with low.scope(), low.machine.block(body):
        low.finish(node.inputs[1:])
    branch(low.machine.items, cond, [[], body], node.where())


@handles("scan")
def scan(low: Lowering, node: Node) -> None:
    """A loop of the program: sequences and stacks are walked by offset registers.

    What is carried stays in its place, where the new value is written at once if that is safe and copied otherwise; a value that
    is carried and stacked stands in the stack only, and is read from the place before.
    """
    machine, space = low.machine, low.machine.space
    count, carried = node.attrs["count"], node.attrs["carried"]
    (region,) = node.regions
    low.settle(node.regions, all_of=True)
    parameters = {(n.op, n.attrs.get("index", 0)): n for n in region.nodes if n.op in ("carried", "scanned")}
    reverse = node.attrs["reverse"]
    inputs = len(node.inputs) - carried
    stacked = [
        (value, name, back)
        for value, name, back in zip(node.outputs[carried:], region.results[carried:], reverse[inputs:], strict=True)
        if low.uses[value.name]
    ]
    late = _late_work(low, node)
    stacks, kept, moving = _places(low, node, stacked, late.roots)
    machine.source = node.where()
    outer = machine.changes.prologue
    low.fill_banks()
    for number, (name, loc) in enumerate(zip(node.inputs[:carried], kept, strict=True)):
        parameter, held = parameters.get(("carried", number)), low.env[name]
        if (
            parameter is not None
            and isinstance(held, Form)
            and len(held.terms) == 1
            and isinstance(held.terms[0], Const)
        ):
            low.starts[parameter.name] = np.broadcast_to(held.terms[0].values(), held.shape)
        low.store_at(name, loc.first if isinstance(loc, _Slot) else loc)
    sequences = [_sequence(low, name) for name in node.inputs[carried:]]
    walks = [
        (_step(loc, count, back), loc.map(lambda x, back=back: x[count - 1 if back else 0]))
        for loc, back in zip(sequences, reverse, strict=False)
    ]
    counter = None
    steps = [n for n in region.nodes if n.op == "step"]
    if steps:
        counter = space.new((), (0, count - 1), node.where())
        machine.store(low.constant(np.array(0)), counter)
    strides = [(0, stride) for stride, _ in walks] + [(0, stride) for stride, _ in moving]
    with machine.loop(count, strides) as registers, low.scope():
        placed = [_moved(loc, stride, reg) for (stride, loc), reg in zip([*walks, *moving], registers, strict=True)]
        outs = placed[len(walks) :]
        for (op, index), each in parameters.items():
            if op == "scanned":
                low.set(each, placed[index])
                continue
            place = kept[index]
            if isinstance(place, _Slot):
                stride, register = moving[place.stack][0], registers[len(walks) + place.stack]
                low.set(each, _moved(place.first, stride, register))
            else:
                low.set(each, place)
                low.hints[region.results[index]] = (place, each.name)
        for each in steps:
            assert counter is not None
            low.set(each, counter)
        _late(
            low,
            late,
            parameters,
            [(name, dest, back) for (_, name, back), dest in zip(stacked, outs, strict=True)],
            moving,
        )
        low.nodes([n for n in region.nodes if n.op not in ("carried", "scanned", "step") and id(n) not in late.nodes])
        machine.source = node.where()
        for (_, name, _), dest in zip(stacked, outs, strict=True):
            if name not in late.roots:
                low.store_at(name, dest)
        ends = [(low.loc(name), place) for name, place in zip(region.results[:carried], kept, strict=True)]
        plain = [(new, place) for new, place in ends if isinstance(place, Loc)]
        news = [_apart(low, new, [p for _, p in plain], number) for number, (new, _) in enumerate(plain)]
        for new, (_, place) in zip(news, plain, strict=True):
            low.copy(new, place)
        if counter is not None:
            form = Form((Lin(counter), Const(np.array(1))), (), (0, count), node.where())
            spec = Spec(0, Rounding.FLOOR, True, machine.config.word, True)
            machine.store(Emitted(form, spec, (0, count)), counter)
    machine.changes.prologue = outer
    for number, place in enumerate(kept):
        low.set(node, place.last if isinstance(place, _Slot) else place, number)
    for (value, _, _), loc in zip(stacked, stacks, strict=True):
        low.env[value.name] = loc
    _last(low, node, late, [(name, loc, back) for (_, name, back), loc in zip(stacked, stacks, strict=True)])


@dataclass(frozen=True)
class _Late:
    """Work on a new carried value that only stacked outputs need: a step does it for the step before, while it waits for itself.

    ``nodes``: ids; ``order``: the nodes; ``roots``: by stacked result, the number of the carried value;
    ``starts``: by the carried value's name.
    """

    nodes: frozenset[int]
    order: tuple[Node, ...]
    roots: dict[str, int]
    starts: dict[str, int]


def _late_work(low: Lowering, node: Node) -> _Late:
    """What was sunk into the loop and starts from a carried value."""
    (region,) = node.regions
    news = list(region.results[: node.attrs["carried"]])
    stacked = region.results[node.attrs["carried"] :]
    root: dict[str, int] = {}
    order = []
    for each in region.nodes:
        name = each.outputs[0].name if each.outputs else ""
        if name not in low.sunk:
            continue
        start = root.get(each.inputs[0], news.index(each.inputs[0]) if each.inputs[0] in news else -1)
        parameter = any(n.op == "carried" and n.attrs["index"] == start for n in region.nodes)
        if start >= 0 and parameter:
            root[name] = start
            order.append(each)
    roots = {name: root[name] for name in stacked if name in root}
    starts = {name: number for number, name in enumerate(news)}
    return _Late(frozenset(map(id, order)) if roots else frozenset(), tuple(order) if roots else (), roots, starts)


def _late(
    low: Lowering,
    late: _Late,
    parameters: dict[tuple[str, int], Node],
    outs: list[tuple[str, Loc, int]],
    moving: list[tuple[int, Loc]],
) -> None:
    """In the loop: the work of the step before, into the place before (the first time into a place that nobody reads)."""
    if not late.roots:
        return
    with low.scope():
        inner = {n.outputs[0].name for n in late.order}
        for each in late.order:
            if each.inputs[0] not in inner:
                low.env[each.inputs[0]] = low.env[parameters["carried", late.starts[each.inputs[0]]].name]
        low.nodes(list(late.order))
        for number, (name, dest, _) in enumerate(outs):
            if name in late.roots:
                low.store_at(name, dest.map(lambda x: x) if not moving[number][0] else _before(dest, moving[number][0]))


def _before(loc: Loc, step: int) -> Loc:
    return replace(loc, addr=loc.addr - step)


def _last(low: Lowering, node: Node, late: _Late, outs: list[tuple[str, Loc, int]]) -> None:
    """Behind the loop: the work of the last step."""
    if not late.roots:
        return
    with low.scope():
        inner = {n.outputs[0].name for n in late.order}
        for each in late.order:
            if each.inputs[0] not in inner:
                low.env[each.inputs[0]] = low.env[node.outputs[late.starts[each.inputs[0]]].name]
        low.nodes(list(late.order))
        for name, loc, back in outs:
            if name in late.roots:
                low.store_at(name, loc.map(lambda x, back=back: x[0 if back else -1]))


@dataclass(frozen=True)
class _Slot:
    """A carried value that stands in a stack: where the initial value is, and the last one."""

    stack: int
    first: Loc
    last: Loc


def _places(
    low: Lowering, node: Node, stacked: list[tuple[Value, str, int]], late: dict[str, int]
) -> tuple[list[Loc], list[Loc | _Slot], list[tuple[int, Loc]]]:
    """Where stacks and carried values stand, and the step and the first element of each stack.

    A stack whose values are carried, or that is filled a step late, has a place more before its first.
    """
    space, count = low.machine.space, node.attrs["count"]
    (region,) = node.regions
    carried = node.attrs["carried"]
    stacks: list[Loc] = []
    slots: dict[str, _Slot] = {}
    moving: list[tuple[int, Loc]] = []
    for number, (value, name, back) in enumerate(stacked):
        both = name in region.results[:carried] and name not in slots and low.bounds[name] == low.bounds[value.name]
        more = both or name in late
        whole = space.new((count + more, *value.shape[1:]), low.bounds[value.name], node.where())
        stack = whole.map(lambda x, cut=slice(0, count) if back else slice(more, count + more): x[cut])
        stacks.append(stack)
        moving.append((_step(whole, count + more, back), stack.map(lambda x, back=back: x[count - 1 if back else 0])))
        if both:
            before = whole.map(lambda x, back=back: x[count if back else 0])
            slots[name] = _Slot(number, before, stack.map(lambda x, back=back: x[0 if back else count - 1]))
    kept: list[Loc | _Slot] = []
    for number, (name, result) in enumerate(zip(node.inputs[:carried], region.results[:carried], strict=True)):
        slot = slots.pop(result, None)
        parameter = next((n for n in region.nodes if n.op == "carried" and n.attrs["index"] == number), None)
        spans = [low.bounds[n] for n in (parameter.name if parameter else result, result, name)]
        bounds = min(s[0] for s in spans), max(s[1] for s in spans)
        if slot is not None and space.config.planes(signed_width(bounds)) == slot.first.parts:
            kept.append(slot)
        else:
            kept.append(space.new(low.shape(name), bounds, node.where()))
    return stacks, kept, moving


def _step(loc: Loc, count: int, back: int) -> int:
    """What the address of a step adds to the one before."""
    step = int((loc.addr[1] - loc.addr[0]).flat[0]) if len(loc.addr) > 1 and loc.addr[0].size else 0
    return -step if back else step


def _moved(loc: Loc, stride: int, register: int) -> Loc:
    """A place that moves with a register."""
    return replace(loc, reg=np.full(loc.addr.shape, register)) if stride else loc


def _apart(low: Lowering, new: Loc, kept: list[Loc], number: int) -> Loc:
    """The new value, copied away where it stands in a place that another carried value is about to overwrite."""
    before = kept[:number]
    if any(np.intersect1d(new.addr, old.addr).size for old in before):
        copy = low.machine.space.new(new.addr.shape, new.bounds, "a carried value")
        low.copy(new, copy)
        return copy
    return new


def _sequence(low: Lowering, name: str) -> Loc:
    """A stored sequence whose steps are equally far apart."""
    loc = low.loc(name)
    steps = np.diff(loc.addr, axis=0)
    if steps.size and ((steps != steps.flat[0]).any() or loc.reg.any()):
        copy = low.machine.space.new(loc.addr.shape, loc.bounds, f"%{name}")
        low.copy(loc, copy)
        return copy
    return loc


@handles("argmax")
def argmax(low: Lowering, node: Node) -> None:
    """One PICK for every row."""
    axis = node.attrs["axis"]
    x = low.loc(node.inputs[0]).map(lambda a: np.moveaxis(a, axis, -1))
    count = x.addr.shape[-1]
    out = node.outputs[0]
    result = low.machine.space.new(out.shape, (0, max(count - 1, 0)), node.where())
    if node.attrs["last"]:
        x = x.map(lambda a: a[..., ::-1])
    for place in np.ndindex(*out.shape):
        _pick(
            low,
            node,
            x.map(lambda a, place=place: a[place]),
            False,
            True,
            None,
            result.map(lambda a, place=place: a[place]),
        )
    if not node.attrs["last"]:
        low.set(node, result)
        return
    terms = (Const(np.array(count - 1)), Lin(result, -1))
    low.set(node, Form(terms, out.shape, low.bounds[out.name], node.where()))


@handles("topk")
def topk(low: Lowering, node: Node) -> None:
    """A PICK for each rank, of what stands behind the one before."""
    axis, k = node.attrs["axis"], node.attrs["k"]
    values, indices = node.outputs
    x = low.loc(node.inputs[0]).map(lambda a: np.moveaxis(a, axis, -1))
    best = low.machine.space.new(values.shape, low.bounds[values.name], node.where())
    which = low.machine.space.new(indices.shape, low.bounds[indices.name], node.where())
    tops = [loc.map(lambda a: np.moveaxis(a, axis, -1)) for loc in (best, which)]
    if k > 1 and not low.machine.config.ranks:
        pick_without_ranks(low, x, *tops, largest=node.attrs["largest"], source=node.where())
        low.set(node, best, 0)
        low.set(node, which, 1)
        return
    for place in np.ndindex(*x.addr.shape[:-1]):
        for rank in range(k):
            spots = [loc.map(lambda a, place=place, rank=rank: a[(*place, rank)]) for loc in tops]
            row = x.map(lambda a, place=place: a[place])
            _pick(low, node, row, rank > 0, node.attrs["largest"], *spots)
    low.set(node, best, 0)
    low.set(node, which, 1)


def _pick(low: Lowering, node: Node, row: Loc, again: bool, largest: bool, value: Loc | None, index: Loc) -> None:
    machine = low.machine
    steps = np.diff(row.addr)
    reach = limits(Op.PICK, "stride")[1]
    if len(steps) and ((steps != steps[0]).any() or abs(int(steps[0])) > reach or (row.reg != row.reg[0]).any()):
        if again and machine.picked is not None:
            row = machine.picked
        else:
            copy = machine.space.new(row.addr.shape, row.bounds, node.where())
            low.copy(row, copy)
            low.machine.picked = row = copy
    pick_job(machine, row, again, largest, value, index)
