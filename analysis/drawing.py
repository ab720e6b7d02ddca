"""How every figure looks and is written: colours that survive grey, a narrow form, light and dark."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .aside import can_fork

# Okabe and Ito's colours, distinguished under every common colour blindness, in an order whose lightness
# alternates; dashes, markers and hatches tell the same apart in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#777777")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "+++", "ooo", "***", "|||")
INK, GRID, PAPER = "#1b1b1b", "#dcdcdc", "#fefefe"
WIDE, NARROW = 8.0, 4.0  # inches: of a screen and of a phone
STYLE: Any = {
    "figure.dpi": 160,
    "font.size": 9,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "text.parse_math": False,  # a dollar in a label is a dollar
    "svg.hashsalt": "webshop-rl",  # the same numbers give the same file
}
# An <img> follows the scheme of its page by this style of its own.
_THEMED = f"""<style>
:root {{ --ink: {INK}; --grid: {GRID}; --paper: {PAPER}; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e6e6; --grid: #444; --paper: #16181b; }} }}
</style>"""

Draw = Callable[[float], Figure | None]  # from a width in inches


@dataclass(frozen=True)
class Picture:
    """A figure that was written.

    Attributes:
        caption: what it shows, also for those who do not see it.
        png, svg: the wide form; narrow: that for phones.
        csv: the numbers it shows.
    """

    caption: str
    png: Path
    svg: Path
    narrow: Path
    csv: Path | None


@dataclass(frozen=True)
class Wanted:
    """A figure to be drawn in both widths and written: PNG, SVG, SVG for phones, and its numbers as CSV.

    Attributes:
        draw: the figure; None if there is nothing to draw.
        caption: what it shows.
        path: of the files, without ending.
        numbers: what it shows, as numbers.
    """

    draw: Draw
    caption: str
    path: Path
    numbers: pd.DataFrame | None = None

    def picture(self) -> Picture | None:
        """Draw and write it; None if there is nothing to draw."""
        with mpl.rc_context(STYLE):
            wide = self.draw(WIDE)
            if wide is None:
                return None
            png, svg = save(wide, self.path)
            narrow = self.path.with_name(f"{self.path.name}_narrow.svg")
            small = self.draw(NARROW)
            _write_svg(wide if small is None else small, narrow)
        csv = None
        if self.numbers is not None:
            csv = self.path.with_suffix(".csv")
            self.numbers.to_csv(csv, index=False)
        return Picture(self.caption, png, svg, narrow, csv)


def drawing(wanted: Sequence[Wanted]) -> Callable[[], list[Picture | None]]:
    """Begin to draw and write figures, on all cores where this process can be forked.

    Returns: waits until they are written.
    """
    cores = len(os.sched_getaffinity(0)) if can_fork() else 1
    if min(cores, len(wanted)) < 2:
        return lambda: [own.picture() for own in wanted]
    # What is drawn is inherited, not sent: it may be a million points.
    pool = multiprocessing.get_context("fork").Pool(min(cores, len(wanted)), _inherit, (wanted,))
    begun = pool.map_async(_draw_inherited, range(len(wanted)), chunksize=1)

    def made() -> list[Picture | None]:
        with pool:
            return begun.get()

    return made


_inherited: list[Wanted] = []


def _inherit(wanted: Sequence[Wanted]) -> None:
    _inherited[:] = wanted


def _draw_inherited(place: int) -> Picture | None:
    return _inherited[place].picture()


def grid_of_panels(num_rows: int, num_columns: int, width: float, title_lines: int) -> tuple[Figure, Any]:
    """Panels that share their axes, and an array [num_rows, num_columns] of them.

    Their margins are given in inches: for two dozen panels a layout engine takes longer than all the drawing.

    Args:
        width: of the figure, inches.
        title_lines: of the longest title.
    """
    panel, title = 1.25, 0.12 + 0.14 * title_lines
    left, right, bottom = 0.7, 0.1, 0.6
    height = num_rows * (panel + title) + bottom
    places = {
        "left": left / width,
        "right": 1 - right / width,
        "bottom": bottom / height,
        "top": 1 - title / height,
        "wspace": 0.12,
        "hspace": title / panel,
    }
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False, gridspec_kw=places)
    return figure, grid


def save(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write a figure as PNG and SVG beside each other; path has no ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
    with mpl.rc_context(STYLE):
        # By the canvas itself: savefig draws everything twice, once to ask how large it is.
        FigureCanvasAgg(figure).print_png(png)
        # Where everything lies is found once: it takes longer than to draw.
        figure.set_layout_engine("none")
        _write_svg(figure, svg)
    return png, svg


def wrapped(label: str, width: int = 34) -> str:
    """Break a long label at its spaces; one of thousands of characters is cut."""
    lines = [""]
    for word in label[:200].split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _write_svg(figure: Figure, path: Path) -> None:
    FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
    text = path.read_text(encoding="utf-8")
    for colour, name in ((INK, "ink"), (GRID, "grid"), (PAPER, "paper")):
        text = text.replace(f": {colour}", f": var(--{name})")
    path.write_text(re.sub(r"(<svg[^>]*>)", rf"\1{_THEMED}", text, count=1), encoding="utf-8")
