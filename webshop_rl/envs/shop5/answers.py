"""What the five-product shop tells a demonstrator."""

from __future__ import annotations

from collections.abc import Sequence

from webshop_rl.envs.shop5.catalogue import PRODUCTS
from webshop_rl.envs.types import Goal, ResultLine


class Shop5Answers:
    """Implements envs.types.Answers; all goals of this shop are training goals."""

    def __init__(self, goals: Sequence[Goal]) -> None:
        self._goals = {goal.id for goal in goals}
        self._names = {product.asin: product.name for product in PRODUCTS}

    def query(self, goal: Goal) -> str:
        """The name of what is wanted: the instruction contains it."""
        return self._target(goal)

    def product(self, line: ResultLine) -> str:
        return line.title

    def rules_out(self, goal: Goal, line: ResultLine) -> bool:
        return line.title != self._target(goal)

    def worth(self, goal: Goal, product: str) -> float:
        return float(product == self._target(goal))

    def options(self, goal: Goal, product: str) -> Sequence[str]:
        return ()

    def _target(self, goal: Goal) -> str:
        if goal.id not in self._goals:
            raise ValueError(f"{goal.id} is not a training goal of this shop")
        return self._names[goal.asin]
