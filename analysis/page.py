"""The report as one HTML page that needs nothing beside it, and as Markdown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .tables import Table, right_aligned

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 2rem auto;
       max-width: 84rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; }
.verdict, ul { max-width: 64rem; }
.verdict { border-left: 4px solid #0072B2; padding: .6rem 1rem; background: #f3f7fa; }
.note { color: #555; font-size: .87rem; max-width: 60rem; margin: .2rem 0 .6rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #ddd;
         vertical-align: top; }
td { max-width: 36rem; overflow-wrap: break-word; }
th { border-bottom: 1px solid #888; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1rem 0; } figure img { width: 52rem; max-width: 100%; height: auto; }
figcaption { color: #555; font-size: .87rem; }
summary { cursor: pointer; font-weight: 600; margin-top: 2rem; }
"""


@dataclass(frozen=True)
class Picture:
    """A figure that was written.

    Attributes:
        caption: what it shows, also for those who do not see it.
    """

    caption: str
    png: Path
    svg: Path


@dataclass(frozen=True)
class Report:
    """What both forms show.

    Attributes:
        cautions, shared: sentences.
        tables: in order, shown open; folded: shown on demand.
    """

    title: str
    verdict: str
    cautions: Sequence[str]
    shared: Sequence[str]
    tables: Sequence[Table]
    folded: Sequence[Table]
    pictures: Sequence[Picture]

    def markdown(self, folder: Path) -> str:
        """Markdown whose pictures lie below folder."""
        parts = [f"# {self.title}", self.verdict]
        for heading, sentences in (("To keep in mind", self.cautions), ("What runs share", self.shared)):
            if sentences:
                parts += [f"## {heading}", "\n".join(f"- {s}" for s in sentences)]
        parts += [table.markdown() for table in self.tables]
        parts += [f"![{p.caption}]({p.png.relative_to(folder).as_posix()})" for p in self.pictures]
        parts += [table.markdown() for table in self.folded]
        return "\n\n".join(parts) + "\n"

    def html(self) -> str:
        """One page, pictures embedded, no script."""
        parts = [f"<h1>{escape(self.title)}</h1>", f'<p class="verdict">{escape(self.verdict)}</p>']
        for heading, sentences in (("To keep in mind", self.cautions), ("What runs share", self.shared)):
            if sentences:
                items = "".join(f"<li>{escape(s)}</li>" for s in sentences)
                parts.append(f"<h2>{heading}</h2><ul>{items}</ul>")
        parts += [f"<h2>{escape(t.title)}</h2>{_table(t)}" for t in self.tables]
        parts += [_figure(picture) for picture in self.pictures]
        parts += [f"<details><summary>{escape(t.title)}</summary>{_table(t)}</details>" for t in self.folded]
        head = (
            f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style>"
        )
        return (
            f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n'
            + "\n".join(parts)
            + "\n</body></html>\n"
        )


def _table(table: Table) -> str:
    kinds = [' class="number"' if right_aligned(column) else "" for column in table.columns]
    head = "".join(f"<th{kind}>{escape(c)}</th>" for kind, c in zip(kinds, table.columns, strict=True))
    rows = "".join(
        f"<tr>{''.join(f'<td{kind}>{escape(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    heading = f"<thead><tr>{head}</tr></thead>" if any(table.columns) else ""
    return f'{note}<div class="wide"><table>{heading}<tbody>{rows}</tbody></table></div>'


def _figure(picture: Picture) -> str:
    content = base64.b64encode(picture.svg.read_bytes()).decode()
    caption = escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/svg+xml;base64,{content}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
