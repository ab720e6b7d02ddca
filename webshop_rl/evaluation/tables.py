"""The table of an evaluation, on a terminal and in MLflow, and what to know before believing it; no torch.

A *result* is what intervals.compare returns and result.json contains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.box import HEAVY_HEAD
from rich.table import Table
from rich.text import Text

from webshop_rl.evaluation.ending import ending_lines
from webshop_rl.statistics import FEW_PRODUCTS, LOW_RATE, Estimate, interval

Result = Mapping[str, Any]

WIDE: Final = 120  # columns of a terminal in which the whole table has room


def result_table(result: Result, *, width: int = WIDE) -> Table:
    """The main policy first, then those on the same episodes, with 95 % intervals by product.

    Args:
        width: of the terminal; below WIDE columns there are two decimals, and neither boxes nor turns.
    """
    narrow = width < WIDE
    headings = _headings(narrow=narrow)
    table = Table(title=Text(result["title"]), title_justify="left", box=None if narrow else HEAVY_HEAD)
    table.add_column(headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for name in result["policies"]:
        label, *numbers = _row(result, name, narrow=narrow)
        cells = [Text(number, no_wrap=True) for number in numbers]
        style = "bold" if name == result["main"] else ""
        table.add_row(Text(label, no_wrap=True, overflow="ellipsis"), *cells, style=style)
    return table


def result_markdown(result: Result) -> str:
    """The same table for MLflow's description of a run."""
    headings = _headings()
    rows = [headings, ["---"] * len(headings), *(_row(result, name) for name in result["policies"])]
    below = [*stage_lines(result), *ending_lines(result)]
    return "\n".join([result["title"], "", *map(" | ".join, rows), *([""] if below else []), *below])


def stage_lines(result: Result) -> Iterator[str]:
    """Success of every policy at each stage of a curriculum, a line each; nothing without one."""
    for stage, success in result.get("stages", {}).items():
        each = ", ".join(f"{result['labels'][name]} {value:.2f}" for name, value in success.items())
        yield f"{stage}: success of {each}"


def remarks(result: Result) -> Iterator[str]:
    """Means per product, and what to know before believing the intervals, a line each."""
    main = result["policies"][result["main"]]
    means = f"success {main['success_by_product']:.3f}, score {main['score_by_product']:.3f}"
    yield f"{means} where every product weighs alike"
    if main["effective_products"] < FEW_PRODUCTS:
        yield f"caution: {main['effective_products']:.1f} products in effect: intervals over so few are rough"
    if main["success"] < LOW_RATE:
        yield f"caution: success below {LOW_RATE:g}: its interval is narrower than it should be"


def _headings(*, narrow: bool = False) -> list[str]:
    if narrow:
        return ["policy", "success [95 %]", "score [95 %]", "score difference"]
    return ["policy", "success [95 %]", "score [95 %]", "turns", "invalid", "score difference [95 %]"]


def _row(result: Result, name: str, *, narrow: bool = False) -> list[str]:
    digits = 2 if narrow else 3
    means, intervals = result["policies"][name], result["intervals"][name]
    minus = result["main_minus"].get(name)
    return [
        result["labels"][name],
        *(interval(Estimate(**intervals[key]), digits=digits) for key in ("success", "score")),
        *([] if narrow else [f"{means['episode_turns']:.1f}", f"{means['invalid_frac']:.2f}"]),
        interval(Estimate(**minus), digits=digits, signed=True) if minus else "",
    ]
