"""Configuration of GRPO."""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.algos.config import GroupAlgoConfig
from webshop_rl.config.fields import choice, ranged


@dataclass
class GrpoConfig(GroupAlgoConfig):
    """Schema of conf/algo/grpo.yaml.

    Attributes:
        scale: what a group's centred returns are divided by: std (GRPO) | none (Dr. GRPO).
        std_eps: added to that standard deviation, return units.
    """

    _target_: str = "webshop_rl.algos.grpo.loss.Grpo"
    scale: str = choice("std", "none")
    std_eps: float = ranged(gt=0)
