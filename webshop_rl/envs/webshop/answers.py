"""What the real shop tells a demonstrator of its training goals: queries, worth and options of products."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from webshop_rl.envs.goal_lists import by_id, by_product
from webshop_rl.envs.types import Goal, ResultLine
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.reward import Score
from webshop_rl.envs.words import instruction_words

# The clause about the price, which finds nothing.
_PRICE = re.compile(r",? and price lower than .*$", re.IGNORECASE)
QUERY_GOALS = 4  # goals of a product that its query is judged by
LEFT_OUT = 16  # most words that a query may leave out at either end
SHORTEST_QUERY = 3
GOOD_ENOUGH = 1 / 3  # mean reciprocal rank from which no shorter window is tried
WORTH_KEPT = 1 << 16

Window = tuple[int, int]  # words left out at the beginning and at the end
WHOLE: Window = (0, 0)


class Knowing(Protocol):
    """What is asked of the shop."""

    def goals(self, split: str) -> Sequence[WebshopGoal]: ...

    def product(self, asin: str) -> Product: ...

    def hits(self, query: str) -> list[tuple[str, float]]: ...

    def score(self, product: Product, goal: WebshopGoal, options: Mapping[str, str]) -> Score: ...


class WebshopAnswers:
    """Implements envs.types.Answers.

    A query is the instruction without its clause about the price: by far the best that can be learnt without
    knowing the catalogue. Where the target is far down the results of that, as many first words are left out
    as suit the goals of the product best, the same number for all of them; then last words too.
    """

    def __init__(self, shop: Knowing) -> None:
        self._shop = shop
        goals = shop.goals("train")
        self._goals = by_id(goals)
        self._by_asin = {own[0].asin: own for own in by_product(goals)}
        self._windows: dict[str, Window] = {}
        self._score = functools.lru_cache(WORTH_KEPT)(self._compute_score)

    def query(self, goal: Goal) -> str:
        """A window of the instruction, in the words that a query is made of."""
        known = self._known(goal)
        if known.asin not in self._windows:
            self._windows[known.asin] = self._best_window(known.asin)
        return _cut(known, self._windows[known.asin])

    def product(self, line: ResultLine) -> str:
        return line.target

    def rules_out(self, goal: Goal, line: ResultLine) -> bool:
        """Never: what a line shows of a product is a matter of the view."""
        self._known(goal)
        return False

    def worth(self, goal: Goal, product: str) -> float:
        """1 for the target, for what scores as much, and for what lacks nothing that its page could show.

        Less for others, the more they lack. A product that fits by all that its page shows is bought though
        it may not be the target: who cannot know better has nothing to gain by looking on.
        """
        known = self._known(goal)
        if product == known.asin.lower() or self._score(known.id, product) == 1.0:
            return 1.0
        return 1 / (1 + self._lacks(known, self._shop.product(product.upper())))

    def _lacks(self, goal: WebshopGoal, product: Product) -> int:
        """Wanted values it does not offer, its options without a wanted value, and a price over the limit."""
        wanted = {value for _, value in goal.options}
        offered = set(itertools.chain.from_iterable(product.options.values()))
        undecided = [name for name, values in product.options.items() if not wanted & set(values)]
        return len(wanted - offered) + len(undecided) + (min(product.pricing) > goal.price_upper)

    def options(self, goal: Goal, product: str) -> Sequence[str]:
        """The wanted values that the product offers, as the instruction names them, one after the other."""
        offered = set(itertools.chain.from_iterable(self._shop.product(product.upper()).options.values()))
        wanted = dict.fromkeys(value for _, value in self._known(goal).options)
        return [value for value in wanted if value in offered and "[" not in value]

    def _compute_score(self, goal_id: str, product: str) -> float:
        goal, item = self._goals[goal_id], self._shop.product(product.upper())
        wanted = set(self.options(goal, product))
        options = {
            name: value for name, values in item.options.items() for value in values if value in wanted
        }
        return self._shop.score(item, goal, options).score

    def _best_window(self, asin: str) -> Window:
        """Words to leave out at both ends, by the mean reciprocal rank of the product; as few as will do."""
        goals = self._by_asin[asin]
        judged = goals[:: max(1, len(goals) // QUERY_GOALS)][:QUERY_GOALS]
        most = min(LEFT_OUT, max(0, min(len(_words(goal)) for goal in judged) - SHORTEST_QUERY))

        def quality(window: Window) -> float:
            return sum(1 / self._rank(goal, window) for goal in judged) / len(judged)

        if quality(WHOLE) >= GOOD_ENOUGH:
            return WHOLE
        best = max(((first, 0) for first in range(most + 1)), key=quality)
        if quality(best) >= GOOD_ENOUGH:
            return best
        both = ((first, last) for first in range(0, most + 1, 2) for last in range(0, most - first + 1, 2))
        return max([best, *both], key=quality)

    def _rank(self, goal: WebshopGoal, window: Window) -> float:
        """Place of the target among the results of a query, from 1."""
        found = [asin for asin, _ in self._shop.hits(_cut(goal, window))]
        return found.index(goal.asin) + 1 if goal.asin in found else float("inf")

    def _known(self, goal: Goal) -> WebshopGoal:
        known = self._goals.get(goal.id)
        if known is None or known.instruction != goal.instruction:
            raise ValueError(f"{goal.id} is not a training goal: a demonstrator must know no other")
        return known


def _words(goal: WebshopGoal) -> tuple[str, ...]:
    return instruction_words(_PRICE.sub("", goal.instruction))


def _cut(goal: WebshopGoal, window: Window) -> str:
    words = _words(goal)
    return " ".join(words[window[0] : len(words) - window[1]])
