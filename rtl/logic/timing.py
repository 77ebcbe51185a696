"""How many LUT levels fit between registers at a clock: a rule of thumb per device that place and route has the last word on."""

from __future__ import annotations

from neuroloom.compiler.errors import InputError

LEVEL_NS = {
    "up5k": 8.5,
    "hx8k": 3.8,
    "85k": 3.2,
    "GW1N-9C": 3.5,
    "xc7a35t": 1.3,
}
"""Nanoseconds of one LUT level with its share of the routing, in a full device with random wiring, by device.

UP5K: the digits network (1,900 tables) was routed at 26 and 32 MHz with 4 levels (two seeds), at 18 MHz with 10; placement
alone promises a third more. The others follow from it by the families' own speed.
"""

_FALLBACK_NS = 8.5
_EDGES_NS = 2.5
"""Clock to output, set-up and the way to the first table, together."""


def default_interval(device: str, clock_hz: int) -> int:
    """LUT levels between registers that meet ``clock_hz`` on ``device``, from 1 to 12; unknown devices count as the slowest."""
    if clock_hz <= 0:
        raise InputError(f"clock must be above 0 Hz, not {clock_hz}")
    level = next((ns for name, ns in LEVEL_NS.items() if device.lower().startswith(name.lower())), _FALLBACK_NS)
    return max(1, min(12, int((1e9 / clock_hz - _EDGES_NS) / level)))
