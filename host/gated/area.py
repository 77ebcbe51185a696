"""How many lookup tables an engine takes: what Yosys makes of it for the board, kept in the cache."""

from __future__ import annotations

import json

from neuroloom.boards import cache, toolchain
from neuroloom.boards.board import Board
from neuroloom.compiler.gated.core import GatedConfig

KIND = "area"


def luts(config: GatedConfig, board: Board) -> int:
    """Lookup tables of the engine alone, without link and clock, by synthesis for the board's family.

    Minutes the first time, then a look into the cache. Raises MissingToolError or ToolFailedError.
    """
    from neuroloom.host.verify.netlist import TOP, synthesise

    from .flow import MODULE, engine_verilog

    verilog = engine_verilog(config).replace(f"module {MODULE}(", f"module {TOP}(", 1)
    key = cache.digest({"verilog": verilog, "board": board.name, "yosys": toolchain.find("yosys").version})
    entry = cache.lookup(KIND, key)
    if entry is None:
        counts = synthesise(verilog, board).counts
        with cache.workspace(KIND) as folder:
            (folder / "counts.json").write_text(json.dumps(dict(counts)), encoding="utf-8")
            entry = cache.publish(folder, KIND, key)
    return int(json.loads((entry / "counts.json").read_text(encoding="utf-8"))["luts"])
