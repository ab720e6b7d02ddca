"""What learning curves can be drawn against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """One choice of `--x`.

    Attributes:
        label: under the axis.
        metrics: cumulative ones, whose sum is a point's place; none for the update itself.
        divisor: from the metrics' unit to the axis'.
    """

    label: str
    metrics: Sequence[str] = ()
    divisor: float = 1.0


UPDATES = Axis("update")
AXES = {
    "updates": UPDATES,
    "episodes": Axis("training episodes", ("train/episodes",)),
    "episodes_with_vstar": Axis(
        "training episodes and reference episodes for V*", ("train/episodes", "vstar/episodes")
    ),
    "env_steps": Axis("turns taken in training episodes", ("train/env_steps",)),
    "tokens": Axis("reply tokens in training episodes", ("train/tokens",)),
    "hours": Axis("hours of training", ("time/train_s",), 3600.0),
    "gpu_hours": Axis("GPU-hours of training", ("time/gpu_hours",)),
}
# Those that the page has of the first curve, beside `--x`.
SHOWN = ("updates", "env_steps", "tokens", "hours")
