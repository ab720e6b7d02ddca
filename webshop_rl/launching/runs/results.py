"""What a finished run measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import RunFolder


def read_result(run_dir: Path) -> dict[str, float]:
    """Means of each policy by `test/success`, `baseline/rule/score`, ...; {} of an unfinished run."""
    result = read_json(RunFolder(run_dir).result) or {}
    # The older format calls them arms.
    policies: Mapping[str, Mapping[str, Any]] = result.get("policies", result.get("arms", {}))
    return {f"{name}/{key}": value for name, means in policies.items() for key, value in means.items()}


def objective(run_dir: Path) -> float | None:
    """What a finished run returned: its score on the test goals."""
    value = (read_json(RunFolder(run_dir).result) or {}).get("objective")
    return None if value is None else float(value)
