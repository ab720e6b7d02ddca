"""Where tests have runs recorded, and what a journal says of one metric."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webshop_rl.config.groups import TrackingConfig
from webshop_rl.tracking.config import Destination
from webshop_rl.tracking.rows import scan


def destination(
    root: Path, uri: str | None = None, *, kind: str = "mlflow", experiment: str = "e", **keys: Any
) -> Destination:
    """The root's own tracker, or another; keys: further ones of `tracking`."""
    times = {"sync_every_s": 5.0, "timeout_s": 10.0, "final_sync_s": 30.0, "traces": 0}
    return Destination(TrackingConfig(kind, uri, **{**times, **keys}), root, experiment)


@dataclass(frozen=True)
class Point:
    """One value of a metric: update step, milliseconds since 1970, value."""

    step: int
    ts_ms: int
    value: float


def metric_history(path: Path, key: str) -> list[Point]:
    """The values of one metric, in the order in which they were logged."""
    return [
        Point(row["step"], row["ts_ms"], row["metrics"][key])
        for _, row in scan(path)
        if row["kind"] == "metrics" and key in row["metrics"]
    ]


def last_values(path: Path) -> dict[str, Point]:
    """The newest value of every metric."""
    newest: dict[str, Point] = {}
    for _, row in scan(path):
        if row["kind"] == "metrics":
            newest |= {k: Point(row["step"], row["ts_ms"], v) for k, v in row["metrics"].items()}
    return newest
