"""A whole design as the cells of its family, with their simulation models: what a virtual board runs as "netlist"."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from neuroloom.boards import cache, toolchain
from neuroloom.boards.board import Board
from neuroloom.boards.cell_models import cell_models, defines
from neuroloom.boards.flows import FLOWS
from neuroloom.compiler.errors import UnsupportedError

SYNTHESIS_TIMEOUT_S = 3600.0


def netlist_of(
    rtlil: str, sources: Mapping[str, str], board: Board, progress: Callable[[str], None] | None = None
) -> dict[str, str]:
    """Synthesise module ``top`` of ``rtlil`` (and the Verilog files ``sources``) for the board's family.

    Returns Verilog by file name, the netlist and the models of its cells. The result is kept in the cache. Raises
    UnsupportedError naming cells without a model, MissingToolError and ToolFailedError.
    """
    say = progress or (lambda text: None)
    tool, flow = toolchain.find("yosys"), FLOWS[board.family]
    script = [
        "read_rtlil top.il",
        *flow.read(sorted(sources)),
        flow.synth(board),
        "write_verilog -noattr netlist.v",
        "tee -q -o stat.json stat -json",
    ]
    key = cache.digest({"rtlil": rtlil, "sources": dict(sources), "script": script, "yosys": tool.version})
    entry = cache.lookup("top-netlist", key)
    if entry is None:
        say("synthesising")
        with cache.workspace("top-netlist") as work:
            for name, text in {**sources, "top.il": rtlil, "run.ys": "\n".join(script) + "\n"}.items():
                (work / name).write_text(text, encoding="utf-8")
            toolchain.run(
                "yosys", ["-q", "-s", "run.ys"], cwd=work, timeout=SYNTHESIS_TIMEOUT_S, log=work / "yosys.log"
            )
            result = work / "result"
            result.mkdir()
            for name in ("netlist.v", "stat.json"):
                (work / name).rename(result / name)
            entry = cache.publish(result, "top-netlist", key)
    netlist = (entry / "netlist.v").read_text(encoding="utf-8")
    cells = json.loads((entry / "stat.json").read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
    models = cell_models(board.family, cells)
    missing = [name for name in sorted(cells) if not name.startswith("$") and not defines(models + netlist, name)]
    if missing:
        raise UnsupportedError(
            f"virtual board must have a model of every cell of the netlist, but there is none of {', '.join(missing)} "
            f"({board.family}); emulate {board.name} with --fidelity rtl"
        )
    return {"netlist.v": netlist, "models.v": models}
