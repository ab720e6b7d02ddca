"""Scripted policies: the baselines that stand in every table of results.

They see what an agent sees, a goal and pages, and work in any shop.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from webshop_rl.envs.backtrack import BacktrackPolicy
from webshop_rl.envs.types import BACK, BUY, PREVIOUS, EndReason, Goal, Page, Session, Step


class Policy(Protocol):
    """Something that acts. One instance serves one episode at a time."""

    name: str

    def reset(self, goal: Goal, seed: int) -> None:
        """Begin an episode; seed fixes all that is random in the policy."""
        ...

    def act(self, goal: Goal, page: Page) -> str:
        """The action on a page: "search[words]" or "click[target]"."""
        ...

    def took(self, page: Page, action: str) -> None:
        """What was done on the page that was acted on last, by this policy or another.

        Args:
            action: as `act` gives it; "" if none was understood.
        """
        ...


class RandomPolicy:
    """A uniformly random admissible action: the instruction in the search box, or any click."""

    name = "random"

    def __init__(self) -> None:
        self._rng = random.Random(0)

    def reset(self, goal: Goal, seed: int) -> None:
        self._rng = random.Random(f"random policy {seed} {goal.id}")

    def act(self, goal: Goal, page: Page) -> str:
        actions = [f"click[{target}]" for target in page.clickables]
        if page.can_search:
            actions.append(f"search[{goal.instruction}]")
        return self._rng.choice(actions)

    def took(self, page: Page, action: str) -> None:
        """Nothing to remember."""


class FirstPolicy:
    """Search the instruction, open the first result, buy it."""

    name = "first"

    def reset(self, goal: Goal, seed: int) -> None:
        """Nothing to remember."""

    def act(self, goal: Goal, page: Page) -> str:
        if page.products:
            return f"click[{page.products[0]}]"
        if BUY in page.clickables:
            return f"click[{BUY}]"
        if page.can_search:
            return f"search[{goal.instruction}]"
        return f"click[{PREVIOUS if PREVIOUS in page.clickables else BACK}]"

    def took(self, page: Page, action: str) -> None:
        """Nothing to remember."""


class RulePolicy(FirstPolicy):
    """As first, but before buying click every option whose text stands in the instruction."""

    name = "rule"

    def __init__(self) -> None:
        self._clicked: set[str] = set()

    def reset(self, goal: Goal, seed: int) -> None:
        self._clicked = set()

    def act(self, goal: Goal, page: Page) -> str:
        instruction = goal.instruction.lower()
        for option in page.options:
            if option in instruction and option not in self._clicked:
                return f"click[{option}]"
        return super().act(goal, page)

    def took(self, page: Page, action: str) -> None:
        if page.products:
            self._clicked = set()
        target = action.removeprefix("click[").removesuffix("]")
        if action == f"click[{target}]" and target in page.options:
            self._clicked.add(target)


POLICIES: dict[str, Callable[[], Policy]] = {
    policy.name: policy for policy in (RandomPolicy, FirstPolicy, RulePolicy, BacktrackPolicy)
}


@dataclass(frozen=True)
class EpisodeRecord:
    """What one episode of a scripted policy came to.

    Attributes:
        pages: the page before each action, and the last one.
        actions: what was done.
        steps: what the shop answered, one for each action.
        score: WebShop's score in [0, 1].
        success: whether the score is 1.
        total_reward: the sum of the rewards of all steps.
    """

    goal: Goal
    policy: str
    seed: int
    pages: list[Page] = field(repr=False)
    actions: list[str]
    steps: list[Step] = field(repr=False)
    score: float
    success: bool
    total_reward: float
    end: EndReason


def run_episode(session: Session, policy: Policy, goal: Goal, seed: int) -> EpisodeRecord:
    """Let a policy act on a goal until the episode ends; the same seed gives the same record."""
    page = session.reset_to(goal, seed=seed)
    policy.reset(goal, seed)
    pages, actions, steps = [page], list[str](), list[Step]()
    while not steps or not (steps[-1].terminated or steps[-1].truncated):
        actions.append(policy.act(goal, pages[-1]))
        policy.took(pages[-1], actions[-1])
        steps.append(session.step(actions[-1]))
        pages.append(steps[-1].page)
    score = steps[-1].score
    return EpisodeRecord(
        goal=goal,
        policy=policy.name,
        seed=seed,
        pages=pages,
        actions=actions,
        steps=steps,
        score=score,
        success=score == 1.0,
        total_reward=sum(step.reward for step in steps),
        end=EndReason.BOUGHT if steps[-1].terminated else EndReason.MAX_STEPS,
    )
