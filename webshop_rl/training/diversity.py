"""How varied a collection's replies are: what falls to nothing when a policy collapses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from webshop_rl.rollout.types import Trajectory


def diversity_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """What is logged of a collection that the policy played; what cannot be measured is left out."""
    entropy = decision_entropy(trajectories)
    alike = replies_alike(trajectories)
    return {
        **({} if entropy is None else {"train/decision_entropy": entropy}),
        **({} if alike is None else {"train/replies_alike_frac": alike}),
    }


def decision_entropy(trajectories: Sequence[Trajectory]) -> float | None:
    """Mean of -log pi over the decisions as they were sampled, nats; None without a decision.

    In expectation the mean entropy of the policy's decisions. Forced tokens do not count.
    """
    segments = [segment for trajectory in trajectories for segment in trajectory.segments]
    sampled = [
        logprob
        for segment in segments
        for logprob, decided in zip(segment.logprobs, segment.decision, strict=True)
        if decided
    ]
    return -sum(sampled) / len(sampled) if sampled else None


def replies_alike(trajectories: Sequence[Trajectory]) -> float | None:
    """Share of equal replies over all pairs of episodes of different goals, turn by turn.

    Two episodes are compared at the turns that both have. 1: whatever is asked for, the replies are the same.

    Returns: in [0, 1]; None if all episodes are of one goal.
    """
    equal = pairs = 0
    for turn in range(max((len(t.turns) for t in trajectories), default=0)):
        said = [(t.goal.id, t.turns[turn].reply) for t in trajectories if len(t.turns) > turn]
        pairs += _pairs(len(said)) - _pairs_within(Counter(goal for goal, _ in said))
        equal += _pairs_within(Counter(reply for _, reply in said)) - _pairs_within(Counter(said))
    return equal / pairs if pairs else None


def _pairs(number: int) -> int:
    return number * (number - 1) // 2


def _pairs_within(sizes: Counter[str] | Counter[tuple[str, str]]) -> int:
    return sum(map(_pairs, sizes.values()))
