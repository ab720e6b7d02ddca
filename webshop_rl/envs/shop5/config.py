"""Configuration of the five-product shop."""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.config.fields import choice, ranged
from webshop_rl.config.groups import EnvConfig


@dataclass
class Shop5Config(EnvConfig):
    """Schema of conf/env/shop5.yaml; values live there."""

    _target_: str = "webshop_rl.envs.shop5.shop.Shop5"
    reward: str = choice("shaped", "score", "binary")
    reward_search: float = ranged(ge=0)
    reward_click: float = ranged(ge=0)
    reward_buy: float = ranged(gt=0)
    shuffle_results: bool = ranged()
    distractors: int = ranged(ge=0, le=4)
    split: str = choice("none")
