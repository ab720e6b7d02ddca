"""The health checks there are, their thresholds, and what becomes of a run in trouble; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from webshop_rl.config.fields import choice, ranged
from webshop_rl.config.groups import Section
from webshop_rl.errors import UserError

# Each check with what it means and what to do, for people.
CHECKS: Final[Mapping[str, str]] = {
    "vstar_not_positive": "no reference episode earned anything: raise vstar.num_samples or ease the task",
    "vstar_constant": "V* is the same for every goal: the reference tells goals apart no better than chance",
    "advantages_vanish": "all advantages are about 0: every episode of the batch ends alike",
    "advantages_negative": "every advantage was negative over the window: check that actions are valid",
    "clipped": "most decisions' ratios are clipped: lower lr or algo.num_epochs",
    "grad_spike": "the gradient norm is many times its recent median: lower lr or optim.grad_clip",
    "no_success": "no success in the window: raise rollout.temperature, shape the reward or ease the task",
    "returns_alike": "returns within groups no longer differ: the policy has stopped exploring",
    "actions_invalid": "most replies are no valid action: use rollout.decoding=admissible or few_shot",
    "entropy_drains": "decisions are all but certain, and wrong: raise algo.entropy_coef or algo.kl_coef",
    "replies_alike": "episodes of different goals have the same replies: raise algo.entropy_coef or kl_coef",
    "sampler_differs": "the engine's log-probs are not the learner's: model.dtype=float32 or engine=native",
    "fallen": "validation is far below its best: lower lr, raise algo.kl_coef, or on_trouble=restore_best",
}


@dataclass
class HealthConfig(Section):
    """Checks for the signs that come before a collapse; keys are explained in conf/config.yaml.

    Attributes:
        on_trouble: what becomes of a run when a check of `trouble` fails: warn | stop: it ends, and its best
            checkpoint is its result | restore_best: it goes on from its best checkpoint.
        trouble: the checks that on_trouble acts on, names of CHECKS; the others warn.
        window: updates looked back on.
        equal_std: spread of returns or advantages up to which they count as equal.
        clipped_frac: share of decisions with a clipped ratio that is too much.
        grad_spike: times the window's median gradient norm.
        invalid_frac: share of turns with an invalid reply that is too much.
        solved: mean success of the window from which low entropy and equal replies are no trouble.
        entropy_min: nats a decision; less in the whole window is too little.
        alike_frac: share of equal replies among episodes of different goals that is too much.
        sampler_gap: nats a decision between the log-probs of learner and engine; a larger mean is too much.
        fall: validation success or score below the best validation's.
    """

    on_trouble: str = choice("warn", "stop", "restore_best")
    trouble: list[str] = ranged()
    window: int = ranged(ge=2)
    equal_std: float = ranged(ge=0)
    clipped_frac: float = ranged(ge=0, le=1)
    grad_spike: float = ranged(gt=1)
    invalid_frac: float = ranged(ge=0, le=1)
    solved: float = ranged(ge=0, le=1)
    entropy_min: float = ranged(ge=0)
    alike_frac: float = ranged(ge=0, le=1)
    sampler_gap: float = ranged(ge=0)
    fall: float = ranged(ge=0, le=1)

    @staticmethod
    def check(group: Mapping[str, Any]) -> None:
        """See that `trouble` lists checks. Raises: UserError if not."""
        for name in group["trouble"]:
            if name not in CHECKS:
                raise UserError(
                    f"{name!r} is no health check",
                    where="health.trouble",
                    remedy=f"one of {', '.join(CHECKS)}",
                )
