"""Scores by goal: what several policies did on the same goals, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from webshop_rl.statistics import Estimate, Floats, effective_products, over_products


@dataclass(frozen=True)
class GoalScores:
    """One policy's, or several runs' mean, score on each goal.

    Attributes:
        goals, products: [G] id and ASIN of each goal.
        weights: [G] episodes of each.
        values: [G] scores, in the unit of the metric.
    """

    goals: tuple[str, ...]
    products: tuple[str, ...]
    weights: Floats
    values: Floats

    @staticmethod
    def of(table: Mapping[str, NDArray[Any]], column: str) -> GoalScores:
        """From an evaluation table (load.load_goals) and the name of its column."""
        return GoalScores(tuple(table["goal"]), tuple(table["asin"]), table["episodes"], table[column])

    def paired_with(self, other: GoalScores) -> bool:
        """Whether the other was measured on the same goals, as often."""
        same = self.goals == other.goals and self.products == other.products
        return same and bool(np.array_equal(self.weights, other.weights))

    def minus(self, other: GoalScores) -> GoalScores:
        """Goal by goal. Raises: ValueError if they are not paired."""
        if not self.paired_with(other):
            raise ValueError("not measured on the same goals")
        return GoalScores(self.goals, self.products, self.weights, self.values - other.values)

    def estimate(self) -> Estimate:
        """Mean over the episodes, with an interval over products."""
        return over_products(self.values, self.weights, self.products)

    @property
    def num_products(self) -> int:
        """How many different products the goals ask for."""
        return len(set(self.products))

    @property
    def effective_products(self) -> float:
        """How many products of equal weight say as much: 1 / Σ w², w a product's share of episodes."""
        return effective_products(self.products, self.weights)

    def per_product(self) -> Estimate:
        """Mean over products, each of which weighs alike, with an interval over products."""
        own = pd.DataFrame({"product": self.products, "w": self.weights, "wv": self.weights * self.values})
        sums = own.groupby("product").sum()
        means = (sums["wv"] / sums["w"]).to_numpy()
        return over_products(means, np.ones(len(means)), list(sums.index))


def mean_of(scores: Sequence[GoalScores | None]) -> GoalScores | None:
    """Goal by goal over several runs; None if one is missing or measured on other goals."""
    first = scores[0] if scores else None
    known = [s for s in scores if s is not None and first is not None and first.paired_with(s)]
    if first is None or len(known) < len(scores):
        return None
    values = np.mean([s.values for s in known], axis=0)
    return GoalScores(first.goals, first.products, first.weights, values)


def differences(ours: Sequence[GoalScores | None], theirs: Sequence[GoalScores | None]) -> GoalScores | None:
    """Mean over runs of ours minus theirs, run by run; None where they are not paired."""
    pairs = [
        None if a is None or b is None or not a.paired_with(b) else a.minus(b)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return mean_of(pairs)
