"""Recorded evaluations in a run's folder: one JSONL file a policy, one line an episode."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from webshop_rl.rollout.types import Trajectory
from webshop_rl.storage.files import replace_file
from webshop_rl.storage.folders import RunFolder
from webshop_rl.training.evaluation import episode_record


def record_path(folder: Path, arm: str) -> Path:
    """Where the episodes of an arm ("test", "baseline/rule", ...) are."""
    return RunFolder(folder).episodes(arm)


def write_records(path: Path, trajectories: Sequence[Trajectory]) -> list[dict[str, Any]]:
    """Write episodes, whole or not at all; returns the records."""
    records = [episode_record(trajectory) for trajectory in trajectories]
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    replace_file(path, lines, durable=False)
    return records


def read_records(path: Path) -> list[dict[str, Any]] | None:
    """The records of an evaluation that was done before, or None."""
    if not path.is_file():
        return None
    return [json.loads(line) for line in path.read_text().splitlines()]
