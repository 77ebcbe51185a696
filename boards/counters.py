"""What a virtual board counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Statistics:
    """Counters of a running virtual board: clock cycles, wall seconds, bytes to (``sent``) and from (``received``) the
    device, broken stop bits, bytes lost because nobody had the port open, line faults injected, and the LED levels as a
    number; of its flash the erasures, page programs, and commands that it ignored."""

    cycles: int
    seconds: float
    sent: int
    received: int
    framing_errors: int
    dropped: int
    faults: int
    leds: int
    erases: int
    programs: int
    ignored: int

    @property
    def cycles_per_second(self) -> float:
        """Simulated clock cycles per second of wall time, idle time included."""
        return self.cycles / self.seconds if self.seconds > 0 else 0.0

    @classmethod
    def of(cls, line: str) -> Statistics:
        """What a line of the simulation says: a word, then ``name=value`` for every counter."""
        fields = dict(pair.split("=", 1) for pair in line.split()[1:])
        return cls(**{name: float(value) if name == "seconds" else int(value) for name, value in fields.items()})  # type: ignore[arg-type]
