"""The report as one HTML page that makes no request, as Markdown, as a table; the page of two sides."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from webshop_rl.evaluation.reasons import Reason

from .cautions import Caution
from .drawing import Picture
from .sides import Episodes
from .survey import Played
from .tables import Table, right_aligned

_TEMPLATES = Path(__file__).parent / "templates"
WIDE = 120  # characters of a terminal that shows the whole table
NARROW = ("arm", "seeds", "against the leader")  # columns in a narrower one, and what arms are compared by
MAX_LISTED = 3000  # episodes in the page; more are in episodes.jsonl alone


@dataclass(frozen=True)
class Report:
    """What all forms show, in this order.

    Attributes:
        headline: one sentence.
        verdict: the whole of it, in detail.
        metric: what arms are compared by.
        first, first_pictures: beside the headline.
        learning: one curve against several axes, each with the axis' name; the page shows one at a time.
        shared: sentences.
        commands: that launched it; revision: of the code, a sentence or "".
        tables: shown open; folded: on demand.
        played: the test episodes.
    """

    title: str
    headline: str
    verdict: str
    first: Sequence[Table]
    cautions: Sequence[Caution]
    metric: str = "test/score"
    shared: Sequence[str] = ()
    commands: Sequence[str] = ()
    revision: str = ""
    tables: Sequence[Table] = ()
    folded: Sequence[Table] = ()
    reason_tables: Sequence[Table] = ()
    first_pictures: Sequence[Picture] = ()
    reason_pictures: Sequence[Picture] = ()
    learning: Sequence[tuple[str, Picture]] = ()
    pictures: Sequence[Picture] = ()
    played: Sequence[Played] = field(default=(), repr=False)

    def markdown(self, folder: Path) -> str:
        """Markdown whose pictures lie below folder."""
        parts = [f"# {self.title}", self.headline, *_images(self.first_pictures, folder)]
        parts += [table.markdown() for table in self.first]
        for heading, lines in (("Cautions", self.cautions), ("What runs share", self.shared)):
            if lines:
                parts += [f"## {heading}", "\n".join(f"- {line}" for line in lines)]
        parts += _images(self.reason_pictures, folder)
        parts += [table.markdown() for table in self.reason_tables]
        parts += _images([*(made for _, made in self.learning), *self.pictures], folder)
        parts += ["## In detail", self.verdict]
        if self.commands:
            parts += ["### Launched by", "\n".join(["```", *self.commands, "```"]), self.revision]
        parts += [table.markdown() for table in (*self.tables, *self.folded)]
        return "\n\n".join(parts) + "\n"

    def html(self) -> str:
        """One page, pictures embedded, no request."""
        listed = [*self.played][:MAX_LISTED]
        listed += [episode for episode in self.played[MAX_LISTED:] if episode.record]
        listed.sort(key=lambda episode: (episode.record is None, not episode.reason))
        names = {episode.reason for episode in self.played}
        return _render(
            "report.html.j2",
            report=self,
            listed=listed,
            num_hidden=len(self.played) - len(listed),
            arm_names=list(dict.fromkeys(episode.arm for episode in self.played)),
            reason_names=[str(reason) for reason in Reason if reason in names],
        )

    def terminal(self, width: int) -> Sequence[RichTable]:
        """The first tables for a terminal of so many characters; a narrow one has the columns of NARROW."""
        shown = None if width >= WIDE else (*NARROW, self.metric)
        return [rich_table(table, shown) for table in self.first]


def comparison_html(title: str, headline: str, tables: Sequence[Table], pairs: Sequence[Episodes]) -> str:
    """The page of two sides, with trajectories beside each other."""
    return _render("compare.html.j2", title=title, headline=headline, tables=tables, pairs=pairs)


def _images(pictures: Sequence[Picture], folder: Path) -> list[str]:
    return [f"![{p.caption}]({p.png.relative_to(folder).as_posix()})" for p in pictures]


def _render(template: str, **given: object) -> str:
    """A template with what every page needs; everything that is put in is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    shared = {"style": _own("page.css"), "script": _own("page.js"), "right": right_aligned, "svg": _data_uri}
    return environment.get_template(template).render(**given, **shared)


def _own(name: str) -> Markup:
    """A file of ours, which needs no escape."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def _data_uri(path: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"


def rich_table(table: Table, columns: Collection[str] | None = None) -> RichTable:
    """A table for the terminal; None shows all of its columns."""
    found = RichTable(title=Text(table.title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    places = [n for n, column in enumerate(table.columns) if columns is None or column in columns]
    for place in places:
        column = table.columns[place]
        right = right_aligned(column)
        heading = Text(column, no_wrap=right)
        found.add_column(
            heading, justify="right" if right else "left", no_wrap=right, min_width=5 if place else 14
        )
    for row in table.rows:
        found.add_row(*(Text(row[place]) for place in places))
    return found
