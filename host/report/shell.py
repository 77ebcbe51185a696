"""The page around every report: style, document, tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

STYLE = """
:root{font:16px/1.5 system-ui,sans-serif;color:#1d2430;background:#f6f7f9}
body{max-width:1060px;margin:0 auto;padding:28px}
h1{margin:0 0 4px;font-size:30px}h2{margin:36px 0 10px;font-size:21px}
.sub{color:#5a6472;word-break:break-all;font-size:13px}
.tiles{display:flex;flex-wrap:wrap;gap:14px;margin-top:18px}
.tile{background:#fff;border:1px solid #dde2e8;border-radius:10px;padding:12px 18px;min-width:120px}
.tile b{display:block;font-size:24px}.tile span{color:#5a6472;font-size:13px}
.card{background:#fff;border:1px solid #dde2e8;border-radius:10px;padding:16px;overflow-x:auto}
svg{max-width:100%;height:auto}.scroll svg{max-width:none}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:#5a6472;font-weight:600}td,th{padding:5px 12px 5px 0;border-bottom:1px solid #edf0f3;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.ok{color:#2f7d4f;font-weight:600}.no{color:#b8404f;font-weight:600}.skip{color:#a0742a;font-weight:600}
.row{display:flex;flex-wrap:wrap;gap:18px;align-items:flex-start}
.legend{display:flex;flex-wrap:wrap;gap:6px 18px;font-size:13px;margin:4px 0 8px}.key i{display:inline-block;width:12px;height:12px;
border-radius:3px;margin-right:6px;vertical-align:-1px}
h3{font-size:15px;margin:18px 0 6px}p.note{color:#5a6472;font-size:13px;margin:8px 0 0}
code{font-family:ui-monospace,monospace;font-size:13px}
"""


def document(title: str, body: str) -> str:
    """A whole HTML page that asks for nothing from outside."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)} · neuroloom</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def card(title: str, body: str) -> str:
    """A titled section."""
    return f'<h2>{escape(title)}</h2><div class="card">{body}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns whose heading starts with > are right-aligned; cells are HTML already."""
    classes = [' class="n"' if h.startswith(">") else "" for h in head]
    top = "".join(f"<th{c}>{escape(h.lstrip('>'))}</th>" for c, h in zip(classes, head, strict=True))
    lines = "".join(
        "<tr>" + "".join(f"<td{c}>{x}</td>" for c, x in zip(classes, row, strict=True)) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"
