"""What units hand to the memories, and the same a cycle later."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from amaranth.hdl import Module, Signal, Value

Tuple = TypeVar("Tuple", bound=tuple[Value, ...])


class Load(NamedTuple):
    """What is loaded: a bit for each memory, where, and the word."""

    on: Value
    addr: Value
    column: Value
    data: Value


class Stored(NamedTuple):
    """An element that IN stores."""

    write: Value
    addr: Value
    data: Value


def delayed(m: Module, name: str, given: Tuple) -> Tuple:
    """The same a cycle later; a reset clears the first field, which says that the others hold."""
    fields = enumerate(given._asdict().items())  # type: ignore[attr-defined]  # NamedTuple cannot be a bound
    signals = [Signal.like(value, name=f"{name}_{field}", reset_less=place > 0) for place, (field, value) in fields]
    m.d.sync += [signal.eq(value) for signal, value in zip(signals, given, strict=True)]
    return type(given)(*signals)
