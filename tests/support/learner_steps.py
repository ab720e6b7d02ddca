"""Single steps of a learner."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tests.support.shop5_parts import Parts
from webshop_rl.rollout.types import Trajectory

NO_CLIP = {"grad_clip": 1e9}


def vstar_of(parts: Parts, trajectories: list[Trajectory]) -> list[float] | None:
    # No multiple of a reward: the sign of R - V* must not hang on rounding.
    return [0.05 + 0.1 * int(t.goal.asin) for t in trajectories] if parts.algorithm.needs_vstar else None


def step(
    parts: Parts, trajectories: list[Trajectory], **options: Any
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Metrics and gradients of one step, taken from the same weights each time."""
    kept = {k: v.clone() for k, v in parts.agent.network.state_dict().items()}
    learner = parts.learner(**NO_CLIP, **options)
    result = next(learner.learn(trajectories, vstar_of(parts, trajectories), 0))
    found = {n: p.grad.clone() for n, p in parts.agent.network.named_parameters() if p.grad is not None}
    parts.agent.network.load_state_dict(kept)
    return result.metrics, found
