"""Configuration of A*PO as weighted self-imitation."""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.algos.config import VstarAlgoConfig
from webshop_rl.config.fields import choice, ranged


@dataclass
class ApoSftConfig(VstarAlgoConfig):
    """Schema of conf/algo/apo_sft.yaml.

    Attributes:
        weight: shifted, clamp(1 + A_hat, min, max) | awr, clamp(exp(A / awr_beta), min, max).
        weight_min, weight_max: bounds of the weight.
        weight_baseline: subtracted from the bounded weight: 0 keeps the self-imitation of the
            original, 1 leaves the policy gradient alone.
        awr_beta: temperature of the weight "awr", return units.
    """

    _target_: str = "webshop_rl.algos.apo_sft.loss.ApoSft"
    weight: str = choice("shifted", "awr")
    weight_min: float = ranged(ge=0)
    weight_max: float = ranged(gt=0)
    weight_baseline: float = ranged(ge=0, le=1)
    awr_beta: float = ranged(gt=0)
