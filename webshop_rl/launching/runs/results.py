"""What a finished run measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import RunFolder


def read_result(run_dir: Path) -> dict[str, float]:
    """Means of each arm by `test/success`, `baseline/rule/score`, ...; {} for a run that has not finished."""
    arms: Mapping[str, Mapping[str, Any]] = (read_json(RunFolder(run_dir).result) or {}).get("arms", {})
    return {f"{arm}/{name}": value for arm, measured in arms.items() for name, value in measured.items()}


def objective(run_dir: Path) -> float | None:
    """What a finished run returned: its score on the test goals."""
    value = (read_json(RunFolder(run_dir).result) or {}).get("objective")
    return None if value is None else float(value)
