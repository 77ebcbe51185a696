"""``docs/flash.md`` is what the tables say now."""

from __future__ import annotations

from pathlib import Path

from neuroloom.boards import flash_document


def test_document_is_up_to_date() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "flash.md").read_text(encoding="utf-8")
    assert text == flash_document.render(), "run: python -m neuroloom.boards.flash_document docs/flash.md"
