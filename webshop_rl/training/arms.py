"""One policy's evaluation on record: played once, in the run's folder and in the tracker under its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from webshop_rl.rollout.types import Trajectory
from webshop_rl.tracking.tracker import NullTracker
from webshop_rl.training.evaluation import summarise_evaluation, table_rows
from webshop_rl.training.processes import Processes
from webshop_rl.training.records import read_records, record_path, write_records


def record_arm(
    tracker: NullTracker,
    folder: Path,
    arm: str,
    step: int,
    play: Callable[[], list[Trajectory]],
    group: Processes | None = None,
) -> list[dict[str, Any]]:
    """Records of an arm's episodes: played once, read back by a later attempt; metrics, table and JSONL.

    Args:
        tracker: of the run.
        folder: of the run.
        arm: prefix of its metrics: "test", "baseline/rule", ...
        step: updates done.
        play: plays the episodes; the same in every process.
        group: the processes of the run, all of which call this.
    """
    group = group or Processes()
    path = record_path(folder, arm)
    records = group.agree(read_records(path))
    if records is None:
        trajectories = play()
        records = group.agree(write_records(path, trajectories) if group.is_main else [])
    tracker.metrics(step, {f"{arm}/{name}": value for name, value in summarise_evaluation(records).items()})
    if group.is_main:
        tracker.artifact(path, path.parent.name)
        tracker.table(arm.replace("/", "_"), table_rows(records))
    tracker.flush()
    return records
