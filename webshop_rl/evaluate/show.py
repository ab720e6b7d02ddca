"""An evaluation for people: progress, table, and episodes as one would read them; no torch."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from webshop_rl.training.display import NARROW, SCRIPTED

QUIET_S: Final = 15.0  # where there is no bar, a sign of life after so much silence
WIDTH: Final = 100
# Intervals over fewer products, or of lower rates, cover less than they say (docs/analysis.md).
FEW_PRODUCTS: Final = 20
LOW_RATE: Final = 0.1
_SEPARATOR: Final = re.compile(r"\s*\[SEP\]\s*")
_THOUGHT: Final = re.compile(r"<think>(.*?)</think>(.*)", re.DOTALL)


class EpisodeProgress:
    """A bar over the episodes on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console, self._said = console, time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("episodes, {task.fields[turns]} turns"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("playing", total=None, turns=0)

    def __enter__(self) -> EpisodeProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def report(self, ended: int, total: int, turns: int) -> None:
        """Called between decisions, as rollout.Collector does."""
        self._bar.update(self._task, completed=ended, total=total, turns=turns)
        if not self._console.is_terminal and time.monotonic() - self._said > QUIET_S:
            self._said = time.monotonic()
            self._console.print(f"played {ended}/{total} episodes, {turns} turns", highlight=False)


def table(result: Mapping[str, Any], *, width: int = NARROW) -> Table:
    """The policy asked for first, then the scripted ones, each with 95 % intervals by product.

    Args:
        result: as play writes it to result.json.
        width: of the terminal; below NARROW columns there are two decimals, and neither boxes nor turns.
    """
    narrow = width < NARROW
    shown = Table(title=Text(result["title"]), title_justify="left", box=None if narrow else HEAVY_HEAD)
    shown.add_column("policy")
    details = () if narrow else ("turns", "invalid")
    difference = "score difference" if narrow else "score difference [95 %]"
    for name in ("success [95 %]", "score [95 %]", *details, difference):
        shown.add_column(name, justify="right", no_wrap=True)
    digits = 2 if narrow else 3
    for arm, means in result["arms"].items():
        intervals = result["intervals"][arm]
        minus = result["main_minus"].get(arm)
        numbers = [_interval(intervals["success"], digits), _interval(intervals["score"], digits)]
        if not narrow:
            numbers += [f"{means['episode_turns']:.1f}", f"{means['invalid_frac']:.2f}"]
        numbers.append(_interval(minus, digits, "+") if minus else "")
        label = Text(SCRIPTED.get(arm, result["label"]), no_wrap=True, overflow="ellipsis")
        cells = [Text(number, no_wrap=True) for number in numbers]
        shown.add_row(label, *cells, style="bold" if arm == result["main"] else "")
    return shown


def remarks(result: Mapping[str, Any]) -> Iterator[str]:
    """Means per product, and what to know before believing the intervals, a line each."""
    main = result["arms"][result["main"]]
    means = f"success {main['success_by_product']:.3f}, score {main['score_by_product']:.3f}"
    yield f"{means} where every product weighs alike"
    if main["effective_products"] < FEW_PRODUCTS:
        yield f"caution: {main['effective_products']:.1f} products in effect: intervals over so few are rough"
    if main["success"] < LOW_RATE:
        yield f"caution: success below {LOW_RATE:g}: its interval is narrower than it should be"


def _interval(interval: Mapping[str, Any], digits: int, sign: str = "") -> str:
    mean, low, high = (interval[key] for key in ("mean", "low", "high"))
    shown = f"{sign}.{digits}f"
    if low is None:
        return f"{mean:{shown}}"  # one product: nothing is known of others
    return f"{mean:{shown}} [{low:{shown}}, {high:{shown}}]"


def episodes(records: Sequence[Mapping[str, Any]], number: int) -> Iterator[str]:
    """The first so many episodes, line by line: page, thought and reply, action, reward, end."""
    for index, record in enumerate(records[:number], start=1):
        yield f"── episode {index} of {len(records)}: {record['goal']}, product {record['asin']} " + "─" * 20
        yield f"wanted: {record['instruction']}"
        for turn_number, turn in enumerate(record["turns"], start=1):
            yield ""
            yield f"turn {turn_number}"
            yield from _page(turn["page"])
            yield from _reply(turn)
        score = f"score {record['score']:.2f}, return {record['return']:.2f}, {len(record['turns'])} turns"
        yield ""
        yield f"{'SUCCESS' if record['success'] else 'end'}: {record['end']}, {score}"
        yield ""


def _page(page: str) -> Iterator[str]:
    for block in page.splitlines():
        for part in _SEPARATOR.split(block):
            yield from textwrap.wrap(part, WIDTH, initial_indent="  │ ", subsequent_indent="  │   ")


def _reply(turn: Mapping[str, Any]) -> Iterator[str]:
    reply, action = str(turn["reply"]).strip(), str(turn["action"])
    thought = _THOUGHT.search(reply)
    if thought is not None:
        yield from _named("thinks", thought[1].strip())
        reply = thought[2].strip()
    if reply != action:
        yield from _named("replies", reply or "(nothing)")
    note = "" if turn["valid"] else "   (not valid: nothing happens)"
    yield f"  → {action or 'no action'}{note}"
    if turn["reward"] or turn["parts"]:
        parts = ", ".join(f"{name} {value:.2f}" for name, value in turn["parts"].items())
        yield f"    reward {turn['reward']:+.2f}" + (f" ({parts})" if parts else "")


def _named(name: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(f"{name}: {text}", WIDTH, initial_indent="  ", subsequent_indent="    ")
