"""An engine whose picks have no ranks takes the best of a row, and refuses more of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.gated.program import compile_program

from .conftest import CONFIGS, GRAPHS


def test_top_k_without_ranks_is_refused() -> None:
    plain = replace(CONFIGS["one"], ranks=False)
    with pytest.raises(
        UnsupportedError,
        match=r"topk.*: top-k must take only the first \(k = 1\) on profile 'one', .*; take a larger board",
    ):
        compile_program(GRAPHS["dense"](), plain)
    graph = GRAPHS["comparisons"]()
    assert compile_program(graph, plain).words == compile_program(graph, CONFIGS["one"]).words
