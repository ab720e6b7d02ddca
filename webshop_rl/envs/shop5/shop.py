"""The five-product shop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from webshop_rl.envs.shop5.answers import Shop5Answers
from webshop_rl.envs.shop5.catalogue import PRODUCTS, make_goals
from webshop_rl.envs.shop5.session import Shop5Session, all_texts, furniture
from webshop_rl.envs.types import SPLITS, Goal
from webshop_rl.errors import UserError


class Shop5:
    """Five products, five goals; all goals are training goals (`split=none`).

    Args: as the keys of conf/env/shop5.yaml.
    """

    remarks: Sequence[str] = ()

    def __init__(
        self,
        *,
        name: str = "shop5",
        max_steps: int = 10,
        reward: str = "shaped",
        reward_search: float = 0.3,
        reward_click: float = 0.3,
        reward_buy: float = 1.0,
        shuffle_results: bool = True,
        distractors: int = 0,
        split: str = "none",
    ) -> None:
        self.name = name
        self.max_steps = max_steps
        self._reward = reward
        self._shuffle = shuffle_results
        self._parts = {"search": reward_search, "click": reward_click, "buy": reward_buy}
        self._split = split
        self._goals = make_goals(distractors)

    def goals(self, split: str) -> Sequence[Goal]:
        """The same five goals under every split: this shop measures learning, not generalisation."""
        if split not in (*SPLITS, "all"):
            raise UserError(f"unknown split {split!r}", where="shop5", remedy="one of train, val, test, all")
        return self._goals

    def session(self) -> Shop5Session:
        return Shop5Session(
            max_steps=self.max_steps, reward=self._reward, parts=self._parts, shuffle=self._shuffle
        )

    def answers(self) -> Shop5Answers:
        """What a demonstrator may know."""
        return Shop5Answers(self._goals)

    def digest(self) -> str:
        state = [
            self.max_steps,
            self._reward,
            self._parts,
            self._shuffle,
            [(p.asin, p.name, p.price) for p in PRODUCTS],
            [(g.id, g.instruction) for g in self._goals],
        ]
        return hashlib.sha256(json.dumps(state).encode()).hexdigest()

    def split_digest(self) -> str:
        return hashlib.sha256(json.dumps(["none", [g.id for g in self._goals]]).encode()).hexdigest()

    def furniture(self) -> Iterable[str]:
        return furniture()

    def texts(self) -> Iterable[str]:
        return [*all_texts(), *(goal.instruction for goal in self._goals)]
