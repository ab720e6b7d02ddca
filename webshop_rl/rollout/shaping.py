"""Partial credit in training episodes: reward for what a page has got right of the goal.

Evaluations never pay it: it is the collector's, not the shop's, and only for episodes whose spec asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from webshop_rl.config.schema import ShapingConfig

PARTS: Final = ("search", "category", "product", "options")


class PartialCredit:
    """The partial credit of one episode, turn by turn.

        once        F_k = sum_i w_i max(0, p_i(k) - max_{j < k} p_i(j))     what is new in the episode is paid
        potential   F_k = Phi_k - Phi_k-1,  Phi = sum_i w_i p_i             Phi is 0 before and at the end

    p_i(k) in [0, 1] is a part of Step.progress after turn k. Under "potential" an episode's credit sums to 0,
    so with gamma = 1 the optimal policies are those without it; it tells turns apart, not trajectories.

    Source: potential-based shaping, Ng, Harada and Russell, ICML 1999.

    Args:
        shaping: kind, and the weight of each part, return units.
    """

    def __init__(self, shaping: ShapingConfig) -> None:
        self._weights = {part: float(getattr(shaping, part)) for part in PARTS}
        self._once = shaping.kind == "once"
        self._best = dict.fromkeys(PARTS, 0.0)
        self._potential = 0.0

    def earn(self, progress: Mapping[str, float]) -> float:
        """The credit of a turn that led to a page with this progress, return units."""
        parts = {part: progress.get(part, 0.0) for part in PARTS}
        if not self._once:
            before = self._potential
            self._potential = sum(self._weights[part] * parts[part] for part in PARTS)
            return self._potential - before
        gained = {part: max(0.0, parts[part] - self._best[part]) for part in PARTS}
        self._best = {part: self._best[part] + gained[part] for part in PARTS}
        return sum(self._weights[part] * gained[part] for part in PARTS)

    def settle(self) -> float:
        """What the last turn gets besides, however the episode ended: under "potential" minus Phi."""
        return 0.0 if self._once else self.earn({})
