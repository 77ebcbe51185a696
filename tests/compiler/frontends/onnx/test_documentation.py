"""docs/onnx.md lists the operators that the importer really has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from neuroloom.compiler.frontends.onnx.registry import HANDLERS

PAGE = Path(__file__).parents[4] / "docs" / "onnx.md"


@pytest.mark.parametrize(
    ("label", "domain"), [("ONNX", ""), ("`neuroloom`", "neuroloom"), ("`qonnx.custom_op.lnn`", "qonnx.custom_op.lnn")]
)
def test_operators_are_listed(label: str, domain: str) -> None:
    row = re.search(rf"^\| {re.escape(label)} \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert row and row[1].split(", ") == sorted(name for d, name in HANDLERS if d == domain)
