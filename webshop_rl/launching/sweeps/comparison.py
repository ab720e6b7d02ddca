"""The table at the end of a sweep: one row a run, beside the untrained policy and scripted baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from webshop_rl.duration import duration
from webshop_rl.launching.runs.results import read_result
from webshop_rl.launching.runs.state import State
from webshop_rl.launching.sweeps.table import NARROW, RunView
from webshop_rl.tracking.names import EVALUATIONS

_TRAINED = "test"
# What makes another replicate of the same arm.
_SEEDS = ("seed", "model.init_seed", "vstar.seed")


def compare(views: Sequence[RunView], folders: Sequence[Path], *, title: str, width: int = NARROW) -> Table:
    """Success and score of every run on the test goals, means of arms, then what they are to be measured by.

    A baseline that is the same for all runs gets one row; one that differs (other goals, another
    untrained model) gets a row for each value.

    Args:
        views: the runs, in order.
        folders: theirs.
        title: heading.
        width: of the terminal; below NARROW columns errors are left to the lines below the table.
    """
    narrow = width < NARROW
    results = [read_result(folder) for folder in folders]
    table = Table(title=Text(title), title_justify="left", caption_justify="left", box=None)
    columns = ("", "state", "test success", "test score", "time", *(() if narrow else ("note",)))
    for column in columns:
        right = column.startswith("test")
        table.add_column(column, overflow="fold", justify="right" if right else "left", no_wrap=right)
    for view, result in zip(views, results, strict=True):
        state = view.status.state
        style = {State.FINISHED: "green", State.FAILED: "red"}.get(state, "yellow")
        time = duration(view.status.total_s) if view.status.started else ""
        numbers = _numbers(result, _TRAINED) if state == State.FINISHED else ("-", "-")
        note = () if narrow else (Text(view.status.error),)
        table.add_row(Text(view.label or view.run), Text(state.value, style=style), *numbers, time, *note)
    for arm, means in _means(views, results):
        table.add_row(Text(arm), "", *map(Text, means), style="bold")
        table.caption = Text("means over seeds, with 95 % intervals over seeds")
    for name in EVALUATIONS:
        if name in (_TRAINED, "val"):
            continue
        for numbers in dict.fromkeys(_numbers(r, name) for r in results if f"{name}/success" in r):
            table.add_row(name, "", *numbers, style="dim")
    return table


def _means(
    views: Sequence[RunView], results: Sequence[Mapping[str, float]]
) -> Iterator[tuple[str, list[str]]]:
    """Of each arm with several finished seeds: mean success and score, each with its interval over seeds."""
    from webshop_rl.statistics import interval, mean, over_seeds  # numpy, which no launch waits for

    arms: dict[str, list[Mapping[str, float]]] = {}
    for view, result in zip(views, results, strict=True):
        if view.status.state == State.FINISHED:
            words = [w for w in view.label.split() if w.lstrip("+").partition("=")[0] not in _SEEDS]
            arms.setdefault(" ".join(words), []).append(result)
    for arm, found in arms.items():
        if len(found) > 1:
            measured = [[r[f"{_TRAINED}/{name}"] for r in found] for name in ("success", "score")]
            yield f"{arm} mean of {len(found)}".strip(), [interval(over_seeds(mean, m)) for m in measured]


def _numbers(result: Mapping[str, float], name: str) -> tuple[str, str]:
    success, score = result.get(f"{name}/success"), result.get(f"{name}/score")
    return ("-" if success is None else f"{success:.3f}", "-" if score is None else f"{score:.3f}")
