"""What the comparison asks of runs, read from their folders or the tracker, each table once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .comparison import ReadGoals
from .goals import GoalScores
from .load import Run, load_goals
from .records import Record, load_episodes
from .survey import ReadEpisodes
from .tracker import reading

if TYPE_CHECKING:
    from mlflow import MlflowClient


def goal_reader(client: MlflowClient, uri: str, metric: str, root: Path | None) -> ReadGoals:
    """Reads scores by goal; tables of equal means on equal goals are taken to be one table, and read once.

    Args:
        metric: "test/score" or "test/success".
        root: folder whose runs/ may hold the tables; else the tracker is asked.
    """
    column = metric.rpartition("/")[2]
    known: dict[object, GoalScores | None] = {}

    def read(run: Run, evaluation: str) -> GoalScores | None:
        means = tuple(sorted((k, v) for k, v in run.metrics.items() if k.startswith(f"{evaluation}/")))
        shop = tuple(sorted((k, v) for k, v in run.params.items() if k.startswith(("env.", "evaluation."))))
        scripted = evaluation.startswith("baseline/")
        key = (
            (evaluation, run.tags.get("split_digest"), means, shop) if scripted else (evaluation, run.run_id)
        )
        if key not in known:
            with reading(uri):
                table = load_goals(client, run, evaluation, root=root)
            known[key] = None if table is None else GoalScores.of(table, column)
        return known[key]

    return read


def episode_reader(client: MlflowClient, uri: str, root: Path | None) -> ReadEpisodes:
    """Reads the records of a run's test."""

    def read(run: Run) -> Sequence[Record]:
        with reading(uri):
            return load_episodes(client, run, "test", root=root)

    return read
