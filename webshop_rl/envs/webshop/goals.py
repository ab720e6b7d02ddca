"""Goals: what the shopper asks for, each made when it is asked for, in the original's order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from webshop_rl.envs.types import Goal
from webshop_rl.envs.webshop.goal_table import Floats, GoalTable, Integers, limit_text, tabulate
from webshop_rl.envs.webshop.prepared import asin_of
from webshop_rl.envs.webshop.product import Product

NAMES_AT_A_TIME = 1 << 16
GOALS_KEPT = 1024


@dataclass(frozen=True)
class WebshopGoal(Goal):
    """A goal of WebShop.

    Attributes:
        kind: "synthetic" or "human".
        index: place in the shuffled list of its kind; the published protocol splits by it.
        attributes: what the product should have; never empty.
        options: (option name, value) to choose; the name is None in human goals.
        price_upper: highest price allowed, dollars; 1,000,000 if the instruction names none.
        weight: weight in the original's random choice of a goal.
        query, category, product_category, name: of the target product.
    """

    kind: str
    index: int
    attributes: tuple[str, ...]
    options: tuple[tuple[str | None, str], ...]
    price_upper: float
    weight: float
    query: str
    category: str
    product_category: str
    name: str


def make_goals(
    products: Sequence[Product], prices: Mapping[str, float], rng: random.Random, *, kind: str
) -> WebshopGoals:
    """All goals of a kind, in the original's shuffled order.

    Args:
        products: in catalogue order; one may stand there several times, with other instructions.
        prices: by ASIN, as sample_prices gives them.
        rng: the generator that sample_prices has used; the price limits are drawn from it.
        kind: "synthetic" (every combination of options of a product with an instruction) or "human".
    """
    return WebshopGoals(products, tabulate(products, prices, rng, kind=kind))


class WebshopGoals(Sequence[WebshopGoal]):
    """Goals in a fixed order, each made when it is asked for; implements envs.goal_lists.GoalCollection.

    Args:
        products: in catalogue order.
        table: what the goals are made of.
        places: of those goals that belong here, in the table's order, rising; None for all.
    """

    def __init__(self, products: Sequence[Product], table: GoalTable, places: Integers | None = None) -> None:
        self._products = products
        self.table = table
        self._places = places
        # The last ones made, by place in the table's order: an episode asks for its goal more than once.
        self._made: dict[int, WebshopGoal] = {}

    def __len__(self) -> int:
        return len(self.table.order if self._places is None else self._places)

    @overload
    def __getitem__(self, place: int) -> WebshopGoal: ...

    @overload
    def __getitem__(self, place: slice) -> WebshopGoals: ...

    def __getitem__(self, place: int | slice) -> WebshopGoal | WebshopGoals:
        if isinstance(place, slice):
            return self.at(np.arange(len(self))[place])
        if not -len(self) <= place < len(self):
            raise IndexError(f"{len(self)} goals, no place {place}")
        place %= len(self)
        return self._goal(place if self._places is None else int(self._places[place]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def at(self, places: Integers) -> WebshopGoals:
        """Those at some of their places."""
        own = places if self._places is None else self._places[places]
        goals = WebshopGoals(self._products, self.table, own)
        goals._made = self._made
        return goals

    def by_product(self) -> Sequence[Sequence[WebshopGoal]]:
        """The goals of each product, in their order; products in the order of their first goals."""
        return self._grouped

    def by_id(self) -> Mapping[str, WebshopGoal]:
        """The goal of each id."""
        return _ById(self)

    def of_id(self, goal_id: str) -> WebshopGoal | None:
        """The goal with an id; None if it is not one of these."""
        kind, _, number = goal_id.rpartition("/")
        if kind != self.table.kind or not number.isdecimal() or number != str(int(number)):
            return None
        index = int(number)
        if index >= len(self.table.order):
            return None
        if self._places is not None:
            place = int(np.searchsorted(self._places, index))
            if place == len(self._places) or self._places[place] != index:
                return None
        return self._goal(index)

    def homes(self, home_of: Callable[[str], int]) -> npt.NDArray[np.uint8]:
        """For each goal what a function says of its ASIN, asked once a product."""
        firsts, places = np.unique(self.table.firsts, return_inverse=True)
        found = np.array([home_of(asin) for asin in self._asins(firsts)], dtype=np.uint8)
        return self._own(found[places][self.table.instructions])

    def names(self) -> Iterator[tuple[str, str]]:
        """Id and ASIN of each goal."""
        different = np.unique(self.table.firsts)
        asins = dict(zip(different.tolist(), self._asins(different), strict=True))
        for begin in range(0, len(self), NAMES_AT_A_TIME):
            end = min(len(self), begin + NAMES_AT_A_TIME)
            indices = np.arange(begin, end) if self._places is None else self._places[begin:end]
            firsts = self.table.firsts[self.table.instructions[indices]]
            for index, first in zip(indices.tolist(), firsts.tolist(), strict=True):
                yield f"{self.table.kind}/{index}", asins[first]

    def _asins(self, places: Integers) -> list[str]:
        return [asin_of(self._products, place) for place in places.tolist()]

    @cached_property
    def _grouped(self) -> _ByProduct:
        return _ByProduct(self, self._own(self.table.firsts[self.table.instructions]))

    @cached_property
    def weight_sums(self) -> Floats:
        """[number of goals]: the sum of the weights up to each goal."""
        return np.cumsum(self._own(self.table.weights[self.table.instructions]))

    def _own(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return column if self._places is None else column[self._places]

    def _goal(self, index: int) -> WebshopGoal:
        """The goal at a place of the table's order."""
        goal = self._made.get(index)
        if goal is None:
            if len(self._made) >= GOALS_KEPT:
                self._made.clear()
            goal = self._make(index)
            self._made[index] = goal
        return goal

    def _make(self, index: int) -> WebshopGoal:
        table = self.table
        number = int(table.instructions[index])
        product = self._products[int(table.products[number])]
        limit = float(table.limits[number])
        options: tuple[tuple[str | None, str], ...]
        if table.kind == "human":
            wish = product.human_instructions[int(table.wishes[number])]
            text, attributes = wish.text.strip("."), wish.attributes
            options = tuple((None, value) for value in wish.options)
        else:
            options = _combination(product.options, int(table.order[index] - table.starts[number]))
            said = ", and ".join(f"{name}: {value}" for name, value in options)
            text = f"{product.instruction}{f' with {said}' if said else ''}"
            attributes = product.instruction_attributes
        return WebshopGoal(
            id=f"{table.kind}/{index}",
            asin=product.asin,
            instruction=text + limit_text(limit),
            kind=table.kind,
            index=index,
            attributes=attributes,
            options=options,
            price_upper=limit,
            weight=float(table.weights[number]),
            query=product.query,
            category=product.category,
            product_category=product.product_category,
            name=product.title,
        )


class _ByProduct(Sequence[Sequence[WebshopGoal]]):
    """Goals by product.

    Args:
        goals: of all products.
        products: a number of each goal's product.
    """

    def __init__(self, goals: WebshopGoals, products: Integers) -> None:
        self._goals = goals
        _, firsts, groups, sizes = np.unique(
            products, return_index=True, return_inverse=True, return_counts=True
        )
        self._order = np.argsort(groups, kind="stable")
        self._extents = np.concatenate([[0], np.cumsum(sizes)])
        self._products = np.argsort(firsts)

    def __len__(self) -> int:
        return len(self._products)

    @overload
    def __getitem__(self, place: int) -> WebshopGoals: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[WebshopGoals]: ...

    def __getitem__(self, place: int | slice) -> WebshopGoals | Sequence[WebshopGoals]:
        if isinstance(place, slice):
            return [self[own] for own in range(*place.indices(len(self)))]
        group = self._products[place]
        return self._goals.at(self._order[self._extents[group] : self._extents[group + 1]])


class _ById(Mapping[str, WebshopGoal]):
    def __init__(self, goals: WebshopGoals) -> None:
        self._goals = goals

    def __getitem__(self, goal_id: str) -> WebshopGoal:
        goal = self._goals.of_id(goal_id)
        if goal is None:
            raise KeyError(goal_id)
        return goal

    def __iter__(self) -> Iterator[str]:
        return (goal.id for goal in self._goals)

    def __len__(self) -> int:
        return len(self._goals)


def choose_goal(goals: WebshopGoals, rng: random.Random, *, fidelity: str) -> WebshopGoal:
    """A random goal by weight.

    "fixed" draws each goal in proportion to its weight. "original" keeps a slip of one place: goal 0 is
    never drawn, goal i has the weight of goal i - 1, and the last has those of the last two.
    """
    sums = goals.weight_sums
    place = int(np.searchsorted(sums, rng.uniform(0, float(sums[-1])), side="right"))
    if fidelity == "original":
        place += 1
    return goals[min(place, len(goals) - 1)]


def _combination(options: Mapping[str, Sequence[str]], place: int) -> tuple[tuple[str, str], ...]:
    """A value of each option, by name, as itertools.product has them at a place: the last changes fastest."""
    chosen = []
    for name in sorted(options, reverse=True):
        place, value = divmod(place, len(options[name]))
        chosen.append((name, options[name][value]))
    return tuple(reversed(chosen))
