"""Configuration of RLOO."""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.algos.config import GroupAlgoConfig


@dataclass
class RlooConfig(GroupAlgoConfig):
    """Schema of conf/algo/rloo.yaml."""

    _target_: str = "webshop_rl.algos.rloo.loss.Rloo"
