"""What the configurations of all algorithms share; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields

from webshop_rl.errors import UserError
from webshop_rl.ranges import choice, ranged, violation

MISSING = "???"


@dataclass
class AlgoConfig:
    """Fields every algorithm has; values live in conf/algo.

    Attributes:
        name: the algorithm's folder in webshop_rl/algos.
        group_size: trajectories per goal in one collection.
        goals_per_update: goals in one collection.
        num_epochs: passes over one collection.
        num_minibatches: optimiser steps per pass.
        adv_norm: none | std (divide by the batch's) | mean_std (subtract the batch's mean first).
        adv_std_min: floor of that standard deviation, return units.
        adv_clip: bound on the absolute normalised advantage; null for none.
        loss_norm: how the sum over action tokens becomes a loss; see loss_norms.py.
        loss_divisor_tokens: divisor per trajectory of loss_norm "constant", tokens.
        kl_coef: weight of KL(policy || reference), on the same scale as the policy term.
        kl_estimator: k1 (subtracted from the reward) | k2 | k3 (added to the loss).
        entropy_coef: weight of the entropy bonus, on the same scale as the policy term.
    """

    name: str = ranged()
    group_size: int = ranged(ge=1)
    goals_per_update: int = ranged(ge=1)
    num_epochs: int = ranged(ge=1)
    num_minibatches: int = ranged(ge=1)
    adv_norm: str = choice("none", "std", "mean_std")
    adv_std_min: float = ranged(ge=0)
    adv_clip: float | None = ranged(gt=0)
    loss_norm: str = choice("trajectory_sum", "token_mean", "constant", "length")
    loss_divisor_tokens: float = ranged(gt=0)
    kl_coef: float = ranged(ge=0)
    kl_estimator: str = choice("k1", "k2", "k3")
    entropy_coef: float = ranged(ge=0)

    @property
    def one_update(self) -> bool:
        """True if a collection serves a single optimiser step, so that the policy is its sampler."""
        return self.num_epochs * self.num_minibatches == 1

    @property
    def kl_reward_coef(self) -> float:
        """Coefficient of the log-ratio to the reference inside the reward."""
        return self.kl_coef if self.kl_estimator == "k1" else 0.0

    @property
    def kl_loss_coef(self) -> float:
        """Coefficient of the KL term of the loss."""
        return self.kl_coef if self.kl_estimator != "k1" else 0.0


@dataclass
class VstarAlgoConfig(AlgoConfig):
    """Fields of the algorithms whose baseline is V*, the soft value of the reference policy.

    Attributes:
        vstar_estimator: soft | max | mean, over the reference samples of a goal.
        vstar_beta: temperature of the soft maximum, return units; 0 is the max, .inf the mean.
        vstar_samples: reference samples per goal.
        equal_groups: zero | keep: what a group (two or more) whose returns are all equal contributes
            to the policy term: nothing, or its share by V*.
    """

    vstar_estimator: str = choice("soft", "max", "mean")
    vstar_beta: float = ranged(ge=0)
    vstar_samples: int = ranged(ge=1)
    equal_groups: str = choice("zero", "keep")


@dataclass
class GroupAlgoConfig(AlgoConfig):
    """Fields of the policy gradients whose baseline is the rest of the trajectory's group.

    Attributes:
        clip_eps: half-width of the clip on the token ratio; used only where a collection serves
            more than one update.
    """

    clip_eps: float = ranged(gt=0)


def check_fields(settings: AlgoConfig) -> None:
    """Refuse a setting that is missing or out of range.

    Raises: UserError naming the first such field.
    """
    for f in fields(settings):
        value = getattr(settings, f.name)
        where = f"algo.{f.name}"
        if isinstance(value, str) and value == MISSING:
            raise UserError(
                "is not set", where=where, remedy=f"give it a value in conf/algo/{settings.name}.yaml"
            )
        if broken := violation(value, f.metadata):
            raise UserError(f"{value} {broken}", where=where)
