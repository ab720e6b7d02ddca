"""Several shops as one: the stages of a curriculum."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from webshop_rl.envs.types import Answers, Goal, Page, ResultLine, Session, Shop, Step
from webshop_rl.errors import UserError


class StagedShop:
    """Every stage's goals under names of their own; implements envs.types.Shop.

    A goal's id begins with its stage ("stage2/synthetic/7") and its `stage` names it; an episode happens in
    the shop of that stage, on the stage's own goal.

    Args:
        stages: shops by name, in the order of the curriculum.
    """

    def __init__(self, stages: Mapping[str, Shop]) -> None:
        self.stages = dict(stages)
        self.max_steps = max(shop.max_steps for shop in stages.values())
        self._own = {f"{name}/{goal.id}": goal for name, shop in stages.items() for goal in shop.goals("all")}

    @property
    def remarks(self) -> Sequence[str]:
        """Those of all stages, each with its stage's name."""
        return [f"{name}: {remark}" for name, shop in self.stages.items() for remark in shop.remarks]

    def goals(self, split: str) -> Sequence[Goal]:
        """The goals of every stage's split, stage by stage."""
        return [
            replace(goal, id=f"{name}/{goal.id}", stage=name)
            for name, shop in self.stages.items()
            for goal in shop.goals(split)
        ]

    def session(self) -> Session:
        return _StagedSession(self)

    def answers(self) -> Answers:
        return _StagedAnswers(self)

    def own(self, goal: Goal) -> Goal:
        """A goal as the shop of its stage knows it. Raises: UserError if it is not of this shop."""
        known = self._own.get(goal.id)
        if known is None:
            raise UserError(f"no goal {goal.id!r} in this shop", where="env", remedy="take it from goals()")
        return known

    def digest(self) -> str:
        return self._digest(shop.digest() for shop in self.stages.values())

    def split_digest(self) -> str:
        return self._digest(shop.split_digest() for shop in self.stages.values())

    def texts(self) -> Iterator[str]:
        """Those of all stages, so that one vocabulary does for all of them."""
        return itertools.chain.from_iterable(shop.texts() for shop in self.stages.values())

    def furniture(self) -> Iterator[str]:
        return itertools.chain.from_iterable(shop.furniture() for shop in self.stages.values())

    def _digest(self, digests: Iterable[str]) -> str:
        lines = [f"{name} {digest}" for name, digest in zip(self.stages, digests, strict=True)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _StagedSession:
    """A session of whichever stage the goal belongs to."""

    goal: Goal

    def __init__(self, shop: StagedShop) -> None:
        self._shop = shop
        self._sessions: dict[str, Session] = {}

    def reset_to(self, goal: Goal, *, seed: int) -> Page:
        own = self._shop.own(goal)
        if goal.stage not in self._sessions:
            self._sessions[goal.stage] = self._shop.stages[goal.stage].session()
        self.goal = goal
        self._session = self._sessions[goal.stage]
        return self._session.reset_to(own, seed=seed)

    def step(self, action: str) -> Step:
        return self._session.step(action)


class _StagedAnswers:
    """The answers of whichever stage the goal belongs to."""

    def __init__(self, shop: StagedShop) -> None:
        self._shop = shop
        self._answers = {name: stage.answers() for name, stage in shop.stages.items()}

    def query(self, goal: Goal) -> str:
        return self._of(goal).query(self._shop.own(goal))

    def product(self, line: ResultLine) -> str:
        # A name that is the same in every stage of an environment: they share one class.
        return next(iter(self._answers.values())).product(line)

    def rules_out(self, goal: Goal, line: ResultLine) -> bool:
        return self._of(goal).rules_out(self._shop.own(goal), line)

    def worth(self, goal: Goal, product: str) -> float:
        return self._of(goal).worth(self._shop.own(goal), product)

    def options(self, goal: Goal, product: str) -> Sequence[str]:
        return self._of(goal).options(self._shop.own(goal), product)

    def _of(self, goal: Goal) -> Answers:
        return self._answers[goal.stage]
