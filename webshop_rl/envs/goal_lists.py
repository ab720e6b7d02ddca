"""Goals by product and by id, for lists of them and for shops with too many goals to list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from webshop_rl.envs.types import Goal

G = TypeVar("G", bound=Goal)
G_co = TypeVar("G_co", bound=Goal, covariant=True)

Places = npt.NDArray[np.integer]


@runtime_checkable
class GoalCollection(Protocol[G_co]):
    """Goals of one stage, each made when it is asked for."""

    def at(self, places: Places) -> Sequence[G_co]: ...

    def by_product(self) -> Sequence[Sequence[G_co]]: ...

    def by_id(self) -> Mapping[str, G_co]: ...

    def names(self) -> Iterable[tuple[str, str]]: ...

    def homes(self, home_of: Callable[[str], int]) -> npt.NDArray[np.uint8]: ...


def by_product(goals: Sequence[G]) -> Sequence[Sequence[G]]:
    """The goals of each product, in their order; products in the order of their first goals."""
    if isinstance(goals, GoalCollection):
        return goals.by_product()
    members: dict[str, list[G]] = {}
    for goal in goals:
        members.setdefault(goal.asin, []).append(goal)
    return list(members.values())


def by_id(goals: Sequence[G]) -> Mapping[str, G]:
    """The goal of each id."""
    if isinstance(goals, GoalCollection):
        return goals.by_id()
    return {goal.id: goal for goal in goals}


def by_stage(goals: Sequence[G]) -> Mapping[str, Sequence[G]]:
    """The goals of each stage of a curriculum, in their order; all under "" where there is none."""
    if isinstance(goals, GoalCollection):
        return {"": goals}
    stages: dict[str, list[G]] = {}
    for goal in goals:
        stages.setdefault(goal.stage, []).append(goal)
    return stages


def at(goals: Sequence[G], places: Places) -> Sequence[G]:
    """The goals at some places."""
    if isinstance(goals, GoalCollection):
        return goals.at(places)
    return [goals[place] for place in places.tolist()]


def names(goals: Sequence[G]) -> Iterable[tuple[str, str]]:
    """Id and ASIN of each goal."""
    return goals.names() if isinstance(goals, GoalCollection) else ((goal.id, goal.asin) for goal in goals)


def homes_of(goals: Sequence[G], home_of: Callable[[str], int]) -> npt.NDArray[np.uint8]:
    """For each goal what a function says of its ASIN."""
    if isinstance(goals, GoalCollection):
        return goals.homes(home_of)
    return np.array([home_of(goal.asin) for goal in goals], dtype=np.uint8)


def shares(first: Sequence[G], second: Sequence[G], *, by: Literal["id", "asin"]) -> bool:
    """Whether some goal, or some product, is in both."""
    part = 0 if by == "id" else 1
    known = {name[part] for name in names(first)}
    return any(name[part] in known for name in names(second))
