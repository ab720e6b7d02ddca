"""What people used to watch for by eye: warnings that come before a collapse.

Each check is a pure function of the metrics of the last updates; a warning is logged as
`health/<name>` = 1 at its step and printed the first time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

WINDOW: Final = 10  # updates looked back on
SPIKE: Final = 10.0  # times the median of the window

ADVICE: Final[Mapping[str, str]] = {
    "vstar_not_positive": "no reference episode earned anything: raise vstar.num_samples or ease the task",
    "vstar_constant": "V* is the same for every goal: the reference tells goals apart no better than chance",
    "advantages_vanish": "all advantages are about 0: every episode of the batch ends alike",
    "advantages_negative": "every advantage was negative over the window: check that actions are valid",
    "clipped": "more than half the decisions' ratios are clipped: lower lr or algo.num_epochs",
    "grad_spike": "the gradient norm is ten times its recent median: lower lr or optim.grad_clip",
    "no_success": "no success in the window: raise rollout.temperature, shape the reward or ease the task",
    "returns_alike": "returns within groups no longer differ: the policy has stopped exploring",
    "actions_invalid": "most replies are no valid action: use rollout.decoding=admissible or few_shot",
}


class HealthChecks:
    """Keeps the last updates' metrics and names what is wrong with them."""

    def __init__(self) -> None:
        self._recent: deque[dict[str, float]] = deque(maxlen=WINDOW)

    def state(self) -> list[dict[str, float]]:
        """What a checkpoint must keep."""
        return list(self._recent)

    def restore(self, state: list[dict[str, float]]) -> None:
        """Continue from a checkpoint."""
        self._recent = deque(state, maxlen=WINDOW)

    def advice(self, name: str) -> str:
        """What a failed check means, for people."""
        return f"{name}: {ADVICE[name]}"

    def look(self, metrics: Mapping[str, float]) -> list[str]:
        """Names of the checks that fail now; keys of ADVICE.

        What is not measured at an update (its episodes served several) counts as it was last.
        """
        now = {k: float(v) for k, v in metrics.items() if not k.startswith("time/")}
        self._recent.append({**(self._recent[-1] if self._recent else {}), **now})
        return [name for name, failed in _verdicts(list(self._recent)).items() if failed]


def _verdicts(recent: list[dict[str, float]]) -> dict[str, bool]:
    now = recent[-1]
    full = len(recent) == WINDOW

    def always(key: str, holds: object) -> bool:
        return full and all(key in row and holds(row[key]) for row in recent)  # type: ignore[operator]

    unsolved = now.get("train/success", 0.0) < 1  # when all succeed, equal returns are no warning
    # A group of one has no spread; groups_equal_frac counts groups of two or more.
    grouped = now.get("algo/groups_equal_frac", 0.0) > 0
    norms = sorted(row["optim/grad_norm"] for row in recent[:-1] if "optim/grad_norm" in row)
    median = norms[len(norms) // 2] if norms else 0.0
    return {
        "vstar_not_positive": now.get("vstar/max", 1.0) <= 0,
        "vstar_constant": "vstar/std" in now and now["vstar/std"] == 0 and now.get("vstar/max", 1.0) > 0,
        "advantages_vanish": unsolved and always("algo/advantage_std", lambda x: x < 1e-6),
        "advantages_negative": always("algo/advantage_max", lambda x: x < 0),
        "clipped": now.get("algo/ratio_clipped_frac", 0.0) > 0.5,
        "grad_spike": full and median > 0 and now.get("optim/grad_norm", 0.0) > SPIKE * median,
        "no_success": always("train/success", lambda x: x == 0),
        "returns_alike": unsolved and grouped and always("algo/group_return_std", lambda x: x < 1e-6),
        "actions_invalid": always("train/invalid_frac", lambda x: x > 0.5),
    }
