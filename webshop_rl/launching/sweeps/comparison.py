"""The table at the end of a sweep: one row a run, beside the untrained policy and scripted baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from webshop_rl.duration import duration
from webshop_rl.launching.runs.results import read_result
from webshop_rl.launching.runs.state import State
from webshop_rl.launching.sweeps.table import RunView
from webshop_rl.tracking.names import EVALUATIONS

_TRAINED = "test"


def compare(views: Sequence[RunView], folders: Sequence[Path], *, title: str) -> Table:
    """Success and score of every run on the test goals, then what they are to be measured by.

    A baseline that is the same for all runs gets one row; one that differs (other goals, another
    untrained model) gets a row for each value.
    """
    results = [read_result(folder) for folder in folders]
    table = Table(title=Text(title), title_justify="left", box=None)
    for column in ("", "state", "success", "score", "time", "note"):
        table.add_column(
            column, overflow="fold", justify="right" if column in ("success", "score") else "left"
        )
    for view, result in zip(views, results, strict=True):
        state = view.status.state
        style = {State.FINISHED: "green", State.FAILED: "red"}.get(state, "yellow")
        time = duration(view.status.elapsed_s) if view.status.started else ""
        numbers = _numbers(result, _TRAINED) if state == State.FINISHED else ("-", "-")
        label, note = Text(view.label or view.run), Text(view.status.error)
        table.add_row(label, Text(state.value, style=style), *numbers, time, note)
    for name in EVALUATIONS:
        if name in (_TRAINED, "val"):
            continue
        for numbers in dict.fromkeys(_numbers(r, name) for r in results if f"{name}/success" in r):
            table.add_row(name, "", *numbers, "", "", style="dim")
    return table


def _numbers(result: Mapping[str, float], name: str) -> tuple[str, str]:
    success, score = result.get(f"{name}/success"), result.get(f"{name}/score")
    return ("-" if success is None else f"{success:.3f}", "-" if score is None else f"{score:.3f}")
