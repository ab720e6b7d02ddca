"""Configuration of A*PO as a policy gradient."""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.algos.config import RatioAlgoConfig, VstarAlgoConfig
from webshop_rl.config.fields import ranged


@dataclass
class ApoPgConfig(VstarAlgoConfig, RatioAlgoConfig):
    """Schema of conf/algo/apo_pg.yaml.

    Attributes:
        beta2: coefficient of the trajectory's log-ratio to the reference in the advantage, return
            units per nat; 0 for none.
        policy_coef: factor on the policy term.
    """

    _target_: str = "webshop_rl.algos.apo_pg.loss.ApoPg"
    beta2: float = ranged(ge=0)
    policy_coef: float = ranged(gt=0)
