"""What commands tell of a run on a spiking core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .ui import Ui


def core_facts(measured: Mapping[str, Any], outputs: Mapping[str, np.ndarray], clock_hz: int, ui: Ui) -> dict[str, Any]:
    """Say cycles per step, and what saturated; returns them JSON-able. Nothing for other engines."""
    if "cycles" not in measured:
        return {}
    steps = measured["cycles"].size
    cycles, stalls = int(measured["cycles"].sum()), int(measured["stalls"].sum())
    ui.note(
        f"{cycles / steps:,.1f} cycles per step ({clock_hz * steps / max(cycles, 1):,.0f} steps/s at {clock_hz / 1e6:g} MHz), "
        f"{stalls:,} cycles waiting for the host"
    )
    if measured["saturated"]:
        ui.note(f"warning: saturated at least once: {', '.join(measured['saturated'])}")
    return {"steps": steps, "cycles": cycles, "stall_cycles": stalls, "saturated": measured["saturated"]}
