"""What the parent run of a sweep shows in MLflow: who launched what, and what came of it."""

from __future__ import annotations

import getpass
import os
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from webshop_rl.launching.runs.results import read_result
from webshop_rl.launching.runs.state import State
from webshop_rl.launching.sweeps.manifest import Manifest, read_manifest
from webshop_rl.tracking.names import EVALUATIONS

# A description is a tag, and MLflow takes 8,000 characters of one.
_MAX_CHARS = 7500
_HEAD = "run | state | test/success | test/score"


def describe(root: Path, name: str, states: Mapping[Path, tuple[State, str]]) -> dict[str, str]:
    """Tags of the parent run: description, command, user and source, under the names MLflow shows them by.

    Args:
        root: folder of the runs.
        name: of the sweep.
        states: where each run's folder stands, with its error.
    """
    manifest = read_manifest(root, name)
    if manifest is None:
        return {}
    return {
        "mlflow.note.content": _description(manifest, states),
        "mlflow.user": user_name(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "launch.py",
        "command": shlex.join(manifest.command),
        "common": " ".join(manifest.common),
        "runs.planned": str(len(manifest.runs)),
    }


def user_name() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may know no name for its user
        return str(os.getuid())


def _description(manifest: Manifest, states: Mapping[Path, tuple[State, str]]) -> str:
    by_run = {folder.name: (folder, state) for folder, (state, _) in states.items()}
    counts = Counter(str(state) for state, _ in states.values())
    ended = ", ".join(f"{num} {state}" for state, num in sorted(counts.items()))
    lines = [f"{len(manifest.runs)} runs: {ended}", "", f"`{shlex.join(manifest.command)}`", ""]
    rows, baselines = [], dict[str, None]()
    for listed in manifest.runs:
        folder, state = by_run.get(listed.run, (None, None))
        result = read_result(folder) if folder is not None else {}
        rows.append(f"{listed.label or listed.run} | {state or 'to come'} | {_numbers(result, 'test')}")
        for arm in EVALUATIONS:
            if arm not in ("test", "val") and f"{arm}/success" in result:
                baselines[f"{arm} | | {_numbers(result, arm)}"] = None
    table = [_HEAD, "--- | --- | --- | ---", *baselines, *rows]
    size = len("\n".join(lines))
    for number, row in enumerate(table):
        size += len(row) + 1
        if size > _MAX_CHARS:
            lines.append(f"... and {len(table) - number} more rows")
            break
        lines.append(row)
    return "\n".join(lines)


def _numbers(result: Mapping[str, float], arm: str) -> str:
    success, score = (result.get(f"{arm}/{name}") for name in ("success", "score"))
    return " | ".join("-" if value is None else f"{value:.3f}" for value in (success, score))
