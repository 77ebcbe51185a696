"""A network takes the board's first profile that holds it."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

from neuroloom.boards.registry import load_board
from neuroloom.host.gated.choose import candidates, choose_config

PATH = Path(__file__).parents[2] / "compiler" / "gated" / "graphs.py"


def test_profiles_are_tried_in_the_boards_order() -> None:
    spec = importlib.util.spec_from_file_location("gated_graphs", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    graph, board = module.GRAPHS["gru_step"](), load_board("icebreaker")
    assert [c.profile for c in candidates(board, {})] == ["lanes8", "tables6"]
    assert choose_config(graph, board).profile == "lanes8"
    small = replace(board.gated[0], table_words=2, profile="small")
    assert choose_config(graph, replace(board, gated=(small, board.gated[1]))).profile == "tables6"
