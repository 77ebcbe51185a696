"""Lowering of branches and loops: what leaves a region, or goes round a loop, has a settled format."""

from __future__ import annotations

from fractions import Fraction

from neuroloom.compiler.ir import Region, Type, smallest_type
from neuroloom.compiler.real.program import RealNode, RealValue

from .formats import choose
from .lower import Lowering, Sent, lowering
from .observe import merged
from .rules_delta import initial as nothing_sent


def _settled(low: Lowering, name: str, like: RealValue, type_: Type) -> str:
    """The value in exactly ``type_``, the form in which ``like`` leaves a region."""
    if like.kind == "real":
        return low.settle(name, type_, "kept")
    value = low.integer(name)
    if low.builder[value].type == type_:
        return value
    return low.requantize(value, type_, Fraction(1), f"{name}.kept")


def _type(low: Lowering, value: RealValue) -> Type:
    if value.kind == "real":
        return low.format(value.name)
    assert value.bounds is not None
    return Type(1) if value.kind == "bit" else smallest_type(value.bounds)


@lowering("when", "switch")
def branches(low: Lowering, node: RealNode) -> None:
    """Only the taken region runs; all give the results' formats."""
    types = [_type(low, v) for v in node.outputs]
    decision = low.integer(node.inputs[0])
    source = low.source

    def lowered(number: int) -> Region:
        region = node.regions[number]

        def results() -> list[str]:
            low.source = source
            return [_settled(low, r, v, t) for r, v, t in zip(region.results, node.outputs, types, strict=True)]

        return low.region(region, results)

    regions = [lowered(n) for n in range(len(node.regions))]
    low.source = source
    names = low.builder.nodes(node.op, [decision], name=node.name, source=source, regions=regions)
    for value, name in zip(node.outputs, names, strict=True):
        low.define(value.name, name)


def _carried_type(low: Lowering, node: RealNode, number: int, holder: RealNode | None) -> Type:
    """The format that holds a carried value in every step: the initial one, those in between and the last."""
    last = node.outputs[number]
    name = holder.name if holder is not None else last.name
    if last.kind != "real":
        return _type(low, low.values[name])
    if name not in low.formats:
        rules = low.rules(name)
        seen = [low.seen(last.name)]
        if holder is not None:
            seen.append(low.seen(holder.name))
        low.formats[name] = rules.type or choose(merged(seen), rules.bits, rules)
    low.formats[last.name] = low.formats[name]
    return low.formats[name]


@lowering("scan")
def scan(low: Lowering, node: RealNode) -> None:
    """A loop: carried values have the format that holds all they ever are, sequences are rounded before, outputs inside."""
    count, carry, source = node.attrs["count"], node.attrs["carried"], low.source
    (region,) = node.regions
    carried = {n.attrs["index"]: n for n in region.nodes if n.op == "carried"}
    scanned = {n.attrs["index"]: n for n in region.nodes if n.op == "scanned"}
    types = []
    for number in range(carry):
        types.append(_carried_type(low, node, number, carried.get(number)))
    initial = [
        _settled(low, name, value, type_)
        for name, value, type_ in zip(node.inputs[:carry], node.outputs, types, strict=False)
    ]
    sequences = []
    for number, name in enumerate(node.inputs[carry:]):
        value = low.values[name]
        sequences.append(low.settle(name) if value.kind == "real" else low.integer(name))
        if number in scanned and value.kind == "real":
            low.formats[scanned[number].name] = low.builder[sequences[-1]].type
    stacked = node.outputs[carry:]
    stack_types = [_type(low, v) for v in stacked]

    def start() -> None:
        for number, item in carried.items():
            v, t = item.outputs[0], types[number]
            low.source = item.source or source
            attrs = {"index": number, "type": str(t), "shape": v.shape}
            low.define(v.name, low.builder.node("carried", name=v.name, source=low.source, **attrs))
        for number, item in scanned.items():
            v, given = item.outputs[0], sequences[number]
            lo, hi = low.builder.ranges[given]
            attrs = {"index": number, "type": str(low.builder[given].type), "shape": v.shape, "lo": lo, "hi": hi}
            low.define(v.name, low.builder.node("scanned", name=v.name, source=source, **attrs))
        for item in region.nodes:
            if item.op == "step":
                low.define(item.name, low.builder.node("step", name=item.name, source=source, count=count))

    def results() -> list[str]:
        low.source = source
        new = [_settled(low, r, v, t) for r, v, t in zip(region.results, node.outputs, types, strict=False)]
        kept = region.results[carry:]
        shown = [_settled(low, r, v, t) for r, v, t in zip(kept, stacked, stack_types, strict=True)]
        return [*new, *sent.values, *shown]

    sent = Sent(carry)
    body = low.region(region, results, start, sent)
    low.source = source
    names = low.builder.nodes(
        "scan",
        [*initial, *nothing_sent(low, sent), *sequences],
        name=node.name,
        source=source,
        regions=[body],
        count=count,
        carried=carry + len(sent.values),
        reverse=tuple(node.attrs["reverse"]),
    )
    del names[carry : carry + len(sent.values)]
    for value, name in zip(node.outputs, names, strict=True):
        low.define(value.name, name)


@lowering("carried", "scanned", "step")
def parameter(low: Lowering, node: RealNode) -> None:
    """Defined when the loop was entered."""
