"""What people used to watch for by eye: checks for the signs that come before a collapse.

Each check is a pure function of the metrics of the last updates; one that fails is logged as
`health/<name>` = 1 at its step and printed the first time. `config/health.py` lists the checks and has their
thresholds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from webshop_rl.config.health import CHECKS, HealthConfig

Metrics = Mapping[str, float]


class HealthChecks:
    """Keeps the last updates' metrics and names what is wrong with them.

    Args:
        config: the thresholds.
    """

    def __init__(self, config: HealthConfig) -> None:
        self._config = config
        self._recent: deque[dict[str, float]] = deque(maxlen=config.window)

    def state(self) -> list[dict[str, float]]:
        """What a checkpoint must keep."""
        return list(self._recent)

    def restore(self, state: list[dict[str, float]]) -> None:
        """Continue from a checkpoint; with an empty state, look at no update before this one."""
        self._recent = deque(state, maxlen=self._config.window)

    def advice(self, name: str) -> str:
        """What a failed check means, for people."""
        return f"{name}: {CHECKS[name]}"

    def look(self, metrics: Metrics) -> list[str]:
        """Names of the checks that fail now; keys of CHECKS.

        What is not measured at an update (its episodes served several) counts as it was last.
        """
        now = {k: float(v) for k, v in metrics.items() if not k.startswith("time/")}
        self._recent.append({**(self._recent[-1] if self._recent else {}), **now})
        return [name for name, failed in _verdicts(list(self._recent), self._config).items() if failed]


def _verdicts(recent: list[dict[str, float]], config: HealthConfig) -> dict[str, bool]:
    now = recent[-1]
    full = len(recent) == config.window

    def always(key: str, holds: Callable[[float], bool]) -> bool:
        return full and all(key in row and holds(row[key]) for row in recent)

    unsolved = now.get("train/success", 0.0) < 1  # when all succeed, equal returns are no warning
    failing = sum(row.get("train/success", 0.0) for row in recent) / len(recent) < config.solved
    # A group of one has no spread; groups_equal_frac counts groups of two or more.
    grouped = now.get("algo/groups_equal_frac", 0.0) > 0
    norms = sorted(row["optim/grad_norm"] for row in recent[:-1] if "optim/grad_norm" in row)
    median = norms[len(norms) // 2] if norms else 0.0
    spike = now.get("optim/grad_norm", 0.0) > config.grad_spike * median
    equal = config.equal_std
    return {
        "vstar_not_positive": now.get("vstar/max", 1.0) <= 0,
        "vstar_constant": "vstar/std" in now and now["vstar/std"] == 0 and now.get("vstar/max", 1.0) > 0,
        "advantages_vanish": unsolved and always("algo/advantage_std", lambda x: x < equal),
        "advantages_negative": always("algo/advantage_max", lambda x: x < 0),
        "clipped": now.get("algo/ratio_clipped_frac", 0.0) > config.clipped_frac,
        "grad_spike": full and median > 0 and spike,
        "no_success": always("train/success", lambda x: x == 0),
        "returns_alike": unsolved and grouped and always("algo/group_return_std", lambda x: x < equal),
        "actions_invalid": always("train/invalid_frac", lambda x: x > config.invalid_frac),
        "entropy_drains": failing and always("train/decision_entropy", lambda x: x < config.entropy_min),
        "replies_alike": failing and always("train/replies_alike_frac", lambda x: x > config.alike_frac),
        "sampler_differs": now.get("sampler/gap_mean", 0.0) > config.sampler_gap,
    }


def fallen(best: Sequence[float], last: Sequence[float], fall: float) -> str:
    """How far a validation has fallen: "validation success 0.10, 0.90 before"; "" if not beyond `fall`.

    Args:
        best, last: validations; each ends with success, score (both by product), return.
        fall: of success or score.
    """
    for name, before, now in zip(("success", "score"), best[-3:], last[-3:], strict=False):
        if before - now > fall:
            return f"validation {name} {now:.2f}, {before:.2f} before"
    return ""
