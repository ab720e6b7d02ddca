"""Configuration of PPO."""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.algos.config import RatioAlgoConfig
from webshop_rl.config.fields import choice, ranged


@dataclass
class PpoConfig(RatioAlgoConfig):
    """Schema of conf/algo/ppo.yaml.

    Attributes:
        level: turn (a step is a turn) | token (a step is an action token).
        gamma: discount per step.
        gae_lambda: decay of the advantage estimator per step.
        bootstrap_truncated: whether a truncated episode's return (out of steps or context) goes on with V of
            its last page.
        value_coef: weight of the critic's loss, which is a mean over steps.
        value_clip: half-width of the clip on the critic's move, return units; null for none.
        critic_lr_scale: the critic head's learning rate over the policy's.
    """

    _target_: str = "webshop_rl.algos.ppo.loss.Ppo"
    level: str = choice("turn", "token")
    gamma: float = ranged(ge=0, le=1)
    gae_lambda: float = ranged(ge=0, le=1)
    bootstrap_truncated: bool = ranged()
    value_coef: float = ranged(ge=0)
    value_clip: float | None = ranged(gt=0)
    critic_lr_scale: float = ranged(gt=0)
