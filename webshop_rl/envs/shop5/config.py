"""Configuration of the five-product shop."""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.ranges import choice, ranged


@dataclass
class Shop5Config:
    """Schema of conf/env/shop5.yaml; values live there."""

    _target_: str = "webshop_rl.envs.shop5.shop.Shop5"
    name: str = "shop5"
    max_steps: int = ranged(ge=1)
    reward: str = choice("shaped", "score", "binary")
    reward_search: float = ranged(ge=0)
    reward_click: float = ranged(ge=0)
    reward_buy: float = ranged(gt=0)
    shuffle_results: bool = True
    distractors: int = ranged(ge=0, le=4)
    split: str = choice("none")


CONFIG = Shop5Config
