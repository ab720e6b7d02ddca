"""Configuration of A*PO as a regression."""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.algos.config import VstarAlgoConfig
from webshop_rl.config.fields import ranged


@dataclass
class ApoRegConfig(VstarAlgoConfig):
    """Schema of conf/algo/apo_reg.yaml.

    Attributes:
        beta2: what a nat of the trajectory's log-ratio to the reference is worth, return units.
    """

    _target_: str = "webshop_rl.algos.apo_reg.loss.ApoReg"
    beta2: float = ranged(gt=0)
