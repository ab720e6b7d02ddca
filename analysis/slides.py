"""slides.pptx: two pages as a lab would show them, the system and the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.enum.shapes import MSO_SHAPE
from pptx.enum.text import MSO_ANCHOR
from pptx.util import Inches, Pt

from .drawing import Picture
from .tables import Table

WIDTH, HEIGHT = 13.333, 7.5  # inches, 16:9
MAX_ROWS = 9  # of the table of results; the report has all
MAX_CAUTIONS = 3
_INK, _MARK, _PANEL = RGBColor(0x1B, 0x1B, 0x1B), RGBColor(0x00, 0x72, 0xB2), RGBColor(0xF2, 0xF5, 0xF8)
# What one run does, from left to right: the heading of a box, what it contains.
_SYSTEM = (
    ("Configuration", "Hydra groups: shop, model, algorithm, view; a run's folder is named by its signature"),
    (
        "Collection",
        "batched episodes in the shop: pages to tokens, replies under a grammar, append-only trajectories",
    ),
    ("V*", "reference returns of each goal, sampled once and shared by the runs of a sweep"),
    ("Learning", "advantages and losses as pure functions; checkpoints resume to the bit"),
    ("Evaluation", "best checkpoint, untrained and scripted policies on the same test episodes"),
    ("Report", "arms with intervals over seeds and products; every failure with a reason"),
)


def write_slides(
    path: Path,
    *,
    title: str,
    headline: str,
    settings: Sequence[tuple[str, str]],
    table: Table | None,
    pictures: Sequence[Picture],
    cautions: Sequence[str],
) -> None:
    """Write the two pages.

    Args:
        settings: what was run: name and value, a line each.
        table: of the arms; its first five columns are shown.
        pictures: what was reached, then why episodes failed; those that there are.
        cautions: the gravest first.
    """
    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(WIDTH), Inches(HEIGHT)
    _system(_page(deck, f"How it was measured: {title}"), settings)
    _results(_page(deck, headline), table, pictures, cautions)
    deck.save(str(path))


def _system(page: Any, settings: Sequence[tuple[str, str]]) -> None:
    width, gap = 1.85, 0.24
    for place, (name, text) in enumerate(_SYSTEM):
        left = 0.6 + place * (width + gap)
        box = page.shapes.add_shape(
            MSO_SHAPE.ROUNDED_RECTANGLE, Inches(left), Inches(1.6), Inches(width), Inches(2.3)
        )
        box.adjustments[0] = 0.06
        box.fill.solid()
        box.fill.fore_color.rgb = _PANEL
        box.line.color.rgb = _MARK
        box.shadow.inherit = False
        _write(box.text_frame, [(name, 15, True), (text, 11.5, False)])
        if place:
            arrow = page.shapes.add_shape(
                MSO_SHAPE.RIGHT_ARROW,
                Inches(left - gap + 0.02),
                Inches(2.65),
                Inches(gap - 0.04),
                Inches(0.2),
            )
            arrow.fill.solid()
            arrow.fill.fore_color.rgb = _MARK
            arrow.line.fill.background()
    lines = [(f"{_short(name, 40)}: {_short(value, 160)}", 14, False) for name, value in settings]
    _text(page, lines, 0.6, 4.3, WIDTH - 1.2, 2.8)


def _results(page: Any, table: Table | None, pictures: Sequence[Picture], cautions: Sequence[str]) -> None:
    half = WIDTH / 2
    for place, picture in enumerate(pictures[:2]):
        shape = page.shapes.add_picture(str(picture.png), Inches(0.4), Inches(1.5), width=Inches(half - 0.6))
        room = 2.75
        if shape.height > Inches(room):
            shape.width = int(shape.width * Inches(room) / shape.height)
            shape.height = Inches(room)
        shape.top = Inches(1.5 + place * (room + 0.1))
        # What the picture shows, for those who do not see it.
        shape._element.nvPicPr.cNvPr.set("descr", picture.caption)
    if table is not None:
        _table(page, table, half, 1.5, half - 0.4)
    _text(
        page,
        [(f"Caution: {_short(text, 220)}", 11, False) for text in cautions[:MAX_CAUTIONS]],
        half,
        5.4,
        half - 0.4,
        1.7,
    )


def _table(page: Any, table: Table, left: float, top: float, width: float) -> None:
    rows = [table.columns, *table.rows[:MAX_ROWS]]
    shares = (0.30, 0.07, 0.225, 0.225, 0.18)[: len(table.columns)]
    shape = page.shapes.add_table(
        len(rows), len(shares), Inches(left), Inches(top), Inches(width), Inches(0.3 * len(rows))
    )
    for column, share in enumerate(shares):
        shape.table.columns[column].width = Inches(width * share)
    for number, row in enumerate(rows):
        for column in range(len(shares)):
            cell = shape.table.cell(number, column)
            cell.margin_left = cell.margin_right = Inches(0.05)
            cell.margin_top = cell.margin_bottom = Inches(0.02)
            _write(cell.text_frame, [(_short(row[column], 60), 10, number == 0)])
            cell.vertical_anchor = MSO_ANCHOR.MIDDLE
            cell.fill.solid()
            cell.fill.fore_color.rgb = _PANEL if number == 0 else RGBColor(0xFF, 0xFF, 0xFF)


def _page(deck: Any, title: str) -> Any:
    page = deck.slides.add_slide(deck.slide_layouts[5])  # a title alone
    heading = page.shapes.title
    heading.left, heading.top = Inches(0.5), Inches(0.3)
    heading.width, heading.height = Inches(WIDTH - 1), Inches(1.0)
    heading.text_frame.clear()
    text = _short(title, 330)
    _write(heading.text_frame, [(text, 24 if len(text) < 130 else 17, True)])
    return page


def _text(
    page: Any, lines: Sequence[tuple[str, float, bool]], left: float, top: float, width: float, height: float
) -> None:
    box = page.shapes.add_textbox(Inches(left), Inches(top), Inches(width), Inches(height))
    _write(box.text_frame, lines)


def _write(frame: Any, lines: Sequence[tuple[str, float, bool]]) -> None:
    """Lines of (text, points, bold)."""
    frame.word_wrap = True
    for number, (text, size, bold) in enumerate(lines):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        run = paragraph.add_run()
        run.text = _printable(text)
        run.font.size, run.font.bold = Pt(size), bold
        run.font.color.rgb = _INK


def _printable(text: str) -> str:
    """Without what XML cannot contain."""
    return "".join(character for character in text if character >= " " or character == "\n")


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
