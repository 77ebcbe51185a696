"""The tree, the package list and the import rules agree."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("compiler", "rtl", "sim", "boards", "host")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def folders() -> set[str]:
    """Import names of every folder with Python files that belongs to the package."""
    names = set()
    for part in ("neuroloom", *PARTS):
        for path in (ROOT / part).rglob("*.py"):
            if "__pycache__" in path.parts:
                continue
            words = path.parent.relative_to(ROOT).parts
            names.add(".".join(words if words[0] == "neuroloom" else ("neuroloom", *words)))
    return names


def test_the_wheel_misses_no_folder() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders()


def test_every_folder_of_the_package_has_an_init() -> None:
    for name in folders():
        words = name.split(".")
        folder = ROOT.joinpath(*(words if len(words) == 1 else words[1:]))
        assert (folder / "__init__.py").exists(), folder


@pytest.mark.parametrize("part", ("neuroloom", *PARTS, "tests", "examples", "bench"))
def test_nothing_imports_the_bare_part_names(part: str) -> None:
    """``import compiler`` would work inside a checkout and fail in the wheel."""
    for path in (ROOT / part).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] not in PARTS, f"{path.relative_to(ROOT)}:{node.lineno} imports {name}"


def test_data_files_travel_with_the_wheel() -> None:
    from fnmatch import fnmatch

    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    for part in ("neuroloom", *PARTS):
        for path in (ROOT / part).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py":
                assert any(fnmatch(path.name, p) for p in patterns), f"{path.relative_to(ROOT)} is not in package-data"


def test_every_dependency_gives_its_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    for requirement in (r for group in groups for r in group):
        line = next(x for x in lines if f'"{requirement}"' in x)
        assert "#" in line, f"{requirement} has no reason beside it"
