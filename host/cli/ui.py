"""What commands print with: results on stdout, everything else on stderr, JSON where a script reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table


@dataclass
class Ui:
    """The terminal of one command."""

    json: bool = False
    verbose: bool = False
    quiet: bool = False
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    def error(self, sentence: str) -> None:
        """One sentence on stderr."""
        self.err.print(f"[bold red]error:[/] {escape(sentence)}")

    def note(self, sentence: str) -> None:
        """Progress or advice on stderr, silenced by ``--quiet``."""
        if not self.quiet:
            self.err.print(escape(sentence))

    def say(self, text: str) -> None:
        """A line of the result, unless ``--json`` replaces it."""
        if not self.json:
            self.out.print(escape(text))

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """A table of the result; columns that start with ``>`` are right-aligned."""
        if self.json:
            return
        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
        for row in rows:
            table.add_row(*[escape(str(cell)) for cell in row])
        self.out.print(table, soft_wrap=False)

    def result(self, data: Any) -> None:
        """The whole result for scripts, with ``--json``."""
        if self.json:
            sys.stdout.write(json.dumps(data, indent=1, default=_plain) + "\n")

    @contextmanager
    def progress(self, text: str, unit: str = "samples") -> Iterator[Callable[[int, int], None]]:
        """A bar on stderr; gives ``update(done, total)``."""
        if self.quiet or not self.err.is_terminal:
            yield lambda done, total: None
            return
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(f"{{task.completed:,.0f}}/{{task.total:,.0f}} {unit}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        ]
        with Progress(*columns, console=self.err, transient=True) as bar:
            task = bar.add_task(text, total=1)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    @contextmanager
    def status(self, text: str) -> Iterator[Callable[[str], None]]:
        """A spinner for work of unknown length; gives ``say(text)``. Without a terminal each text is one line."""
        if self.quiet:
            yield lambda message: None
        elif not self.err.is_terminal:
            self.note(text)
            yield self.note
        else:
            with self.err.status(escape(text)) as spinner:
                yield lambda message: spinner.update(escape(message))


FILE_WIDTH = 140
"""Columns when the output is not a terminal: tables in logs and pipes are not squeezed into 80."""


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    return console


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
