"""How far a run has got, by the end of its journal, and what a finished one measured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webshop_rl.config.budget import planned_updates_of
from webshop_rl.evaluation.ending import ending_lines
from webshop_rl.launching.log import unstamped
from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.rows import decode

_TAIL_BYTES = 1 << 16
_SUCCESS = ("test/success", "val/success", "train/success")


@dataclass(frozen=True)
class Progress:
    """Updates done and to do, and the newest success rate (None before the first)."""

    update: int = 0
    num_updates: int = 0
    success: float | None = None

    @property
    def text(self) -> str:
        """`12/80`, or empty where nothing is known."""
        return f"{self.update}/{self.num_updates}" if self.num_updates else ""


def read_progress(run: RunFolder) -> Progress:
    """What the last rows of the journal say; cheap however long the journal is."""
    fields = (read_json(run.signature) or {}).get("fields", {})
    newest: dict[str, float] = {}
    update = 0
    for line in _tail(run.journal).splitlines():
        try:
            row = decode(line)
        except ValueError:
            continue  # the first line of the tail, or one being written
        if row["kind"] == "metrics":
            newest.update(row["metrics"])
            update = max(update, int(row["step"]))
    success = next((newest[key] for key in _SUCCESS if key in newest), None)
    return Progress(update, planned_updates_of(fields) if fields else 0, success)


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in _tail(log).decode(errors="replace").splitlines()]
    return unstamped(next((line for line in reversed(lines) if line), ""))


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            return file.read()
    except OSError:
        return b""


def read_result(run: RunFolder) -> dict[str, float]:
    """Means of each policy by `test/success`, `baseline/rule/score`, ...; {} of an unfinished run."""
    result = read_json(run.result) or {}
    # The older format calls them arms.
    policies: Mapping[str, Mapping[str, Any]] = result.get("policies", result.get("arms", {}))
    return {
        f"{name}/{key}": value
        for name, means in policies.items()
        if isinstance(means, Mapping)
        for key, value in means.items()
    }


def read_ending(run: RunFolder) -> str:
    """How a finished run's training went where it did not go well, in one line; "" otherwise."""
    return "; ".join(ending_lines(read_json(run.result) or {}))


def objective(run: RunFolder) -> float | None:
    """What a finished run returned: its score on the test goals."""
    value = (read_json(run.result) or {}).get("objective")
    return None if value is None else float(value)
