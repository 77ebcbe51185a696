"""What goes wrong on a virtual board's serial line, as one value with a text form: ``ber=1e-3,from.drop=1e-4,baud=+1.5%``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from typing import Any

from neuroloom.compiler.errors import InputError

BAUD_LIMIT = 0.05
"""Largest offset of the host's clock: no UART understands more."""
JITTER_LIMIT = 0.45
"""Edges further off than nearly half a bit would pass each other."""


@dataclass(frozen=True)
class DirectionFaults:
    """Faults of one direction.

    ``ber`` is the probability per bit time that the line's level is inverted for one bit time, on a busy line and on an
    idle one. ``drop`` and ``double`` are probabilities per byte. ``stall`` is the probability per byte of a pause of
    ``stall_ms`` milliseconds before (towards the device) or behind it, ``cut`` that of an open wire for ``cut_ms``; both
    are times on the line. ``delay_ms`` is the latency of the adapter, which holds every byte for so long without taking fewer.
    ``jitter`` displaces each edge by up to that fraction of a bit time.
    """

    ber: float = 0.0
    drop: float = 0.0
    double: float = 0.0
    stall: float = 0.0
    stall_ms: float = 0.0
    cut: float = 0.0
    cut_ms: float = 0.0
    delay_ms: float = 0.0
    jitter: float = 0.0


@dataclass(frozen=True)
class LineFaults:
    """Faults of both directions; ``baud`` is the host's clock error, positive when it is fast.

    Random faults repeat with the virtual board's seed, as far as the host writes the same bytes at the same time.
    """

    to: DirectionFaults = field(default_factory=DirectionFaults)
    from_: DirectionFaults = field(default_factory=DirectionFaults)
    baud: float = 0.0

    @classmethod
    def parse(cls, *texts: str) -> LineFaults:
        """Faults from texts like ``ber=1e-3,from.stall=1e-4:20ms,baud=-2%``; later entries replace earlier ones.

        A name without ``to.`` (towards the device) or ``from.`` stands for both directions; ``none`` clears everything
        before it. Raises InputError.
        """
        faults = PERFECT
        for entry in (entry.strip() for text in texts for entry in text.split(",")):
            faults = PERFECT if entry == "none" else faults._with(entry)
        return faults

    def _with(self, entry: str) -> LineFaults:
        match = re.fullmatch(r"(?:(to|from)\.)?([a-z]+)=(\S+)", entry)
        side, name, value = match.groups() if match else (None, "", "")
        if name == "baud" and side is None:
            return replace(self, baud=_number(entry, value, -BAUD_LIMIT, BAUD_LIMIT))
        if name not in _READERS:
            raise InputError(
                f"Line fault must be one of {', '.join(f'{known}={form}' for known, form in FORMS.items())}, the directed ones"
                f" also with to. or from. before them, or none; not {entry!r}"
            )
        changes = _READERS[name](entry, value)
        to, from_ = ((replace(one, **changes)) for one in (self.to, self.from_))
        return replace(self, to=self.to if side == "from" else to, from_=self.from_ if side == "to" else from_)

    def __str__(self) -> str:
        """The shortest text that :meth:`parse` reads back."""
        parts = []
        for name in FORMS:
            if name == "baud":
                continue
            texts = [_text(direction, name) for direction in (self.to, self.from_)]
            if texts[0] == texts[1]:
                parts += [f"{name}={texts[0]}"] if texts[0] else []
            else:
                parts += [f"{side}.{name}={text}" for side, text in zip(("to", "from"), texts, strict=True) if text]
        if self.baud:
            parts.append(f"baud={100 * self.baud:+.9g}%")
        return ",".join(parts) or "none"

    def harness(self) -> str:
        """The same as the harness reads it (``line.hpp``)."""
        words = [f"baud={self.baud!r}"]
        for side, direction in (("to", self.to), ("from", self.from_)):
            words += [f"{side}.{one.name}={getattr(direction, one.name)!r}" for one in fields(direction)]
        return " ".join(words)


PERFECT = LineFaults()
"""A line on which nothing goes wrong."""

FORMS = {
    "ber": "RATE",
    "drop": "RATE",
    "double": "RATE",
    "stall": "RATE:TIME",
    "cut": "RATE:TIME",
    "delay": "TIME",
    "jitter": "PART",
    "baud": "PART",
}
"""Names and forms: RATE per bit (ber) or byte, TIME with a unit (us, ms, s), PART as 0.015 or 1.5%."""

_UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def _number(entry: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise InputError(f"Line fault must have a number behind its name, as ber=1e-3 has, not {entry!r}") from None
    if not low <= value <= high:  # also refuses nan
        raise InputError(f"Line fault must be between {low:g} and {high:g}, not {entry!r}")
    return value


def milliseconds(text: str) -> float:
    """Milliseconds from a time with a unit, like ``20ms`` or ``0.5s``; raises InputError."""
    match = re.fullmatch(r"([0-9.]+(?:e-?\d+)?)(us|ms|s)", text)
    try:
        value = float(match[1]) * _UNITS_MS[match[2]] if match else -1.0
    except ValueError:
        value = -1.0
    if not 0 < value <= 3_600_000:
        raise InputError(f"Time must be a number with a unit, like 500us, 20ms or 1s, up to an hour, not {text!r}")
    return value


def _rate(name: str) -> Any:
    return lambda entry, text: {name: _number(entry, text, 0.0, 1.0)}


def _timed(name: str) -> Any:
    def read(entry: str, text: str) -> dict[str, float]:
        rate, _, time = text.partition(":")
        value = _number(entry, rate, 0.0, 1.0)
        return {name: value, f"{name}_ms": milliseconds(time) if value or time else 0.0}

    return read


_READERS = {
    "ber": _rate("ber"),
    "drop": _rate("drop"),
    "double": _rate("double"),
    "stall": _timed("stall"),
    "cut": _timed("cut"),
    "delay": lambda entry, text: {"delay_ms": 0.0 if text == "0" else milliseconds(text)},
    "jitter": lambda entry, text: {"jitter": _number(entry, text, 0.0, JITTER_LIMIT)},
}


def _text(direction: DirectionFaults, name: str) -> str:
    """The value behind ``name=``, or nothing where it is 0."""
    time = getattr(direction, f"{name}_ms", None)
    value = getattr(direction, name, None)
    if not (time if value is None else value):
        return ""
    parts = [] if value is None else [f"{value:.9g}"]
    return ":".join(parts + ([] if time is None else [f"{time:.9g}ms"]))
