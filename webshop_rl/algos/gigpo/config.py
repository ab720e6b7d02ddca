"""Configuration of GiGPO."""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.algos.grpo.config import GrpoConfig
from webshop_rl.config.fields import ranged


@dataclass
class GigpoConfig(GrpoConfig):
    """Schema of conf/algo/gigpo.yaml; scale and std_eps hold for both kinds of groups.

    Attributes:
        step_coef: weight of a turn's advantage beside its episode's.
        gamma: discount per turn of what follows a turn.
    """

    _target_: str = "webshop_rl.algos.gigpo.loss.Gigpo"
    step_coef: float = ranged(ge=0)
    gamma: float = ranged(ge=0, le=1)
