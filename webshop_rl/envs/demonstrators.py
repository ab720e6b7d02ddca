"""A demonstrator: a policy that knows what the goals of the training split ask for, in any shop.

It searches, opens results in order, goes back from what is wrong, and buys what is right with the options
that are wanted. After a number of misses, or when steps run out, it buys the best of what it saw. What it
does follows from the goal and the pages and actions so far alone, so it can say what to do next on any page
that any policy reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from webshop_rl.envs.scripted import POLICIES
from webshop_rl.envs.types import BACK, BUY, NEXT, PREVIOUS, Answers, Goal, Page

MOST_MISSES = 5
RESULTS_A_PAGE = 10


class Demonstrator:
    """Says what to do next.

    Args:
        answers: what the shop tells of its training goals.
        max_steps: of an episode.
    """

    def __init__(self, answers: Answers, max_steps: int) -> None:
        self._answers = answers
        self._max_steps = max_steps

    def act(self, goal: Goal, pages: Sequence[Page], actions: Sequence[str]) -> str:
        """The next action of an episode: "search[words]" or "click[target]".

        Args:
            pages: all pages so far, the one to act on last.
            actions: the actions between them, whoever chose them; "" if none was understood.
        Raises: ValueError if the goal is not a training goal.
        """
        page = pages[-1]
        opened = self._opened(pages, actions)
        left = self._max_steps - len(actions)
        if page.kind == "item" and opened:
            return self._on_item(goal, page, opened, left)
        if page.kind == "results" and page.results:
            return self._on_results(goal, page, opened, left)
        if page.can_search:
            return f"search[{self._answers.query(goal)}]"
        way_back = PREVIOUS if PREVIOUS in page.clickables else BACK
        return f"click[{way_back}]"

    def _opened(self, pages: Sequence[Page], actions: Sequence[str]) -> list[str]:
        """The products whose pages were seen, in the order of the visits."""
        found = []
        for page, action, after in zip(pages, actions, pages[1:], strict=False):
            for line in page.results if after.kind == "item" else ():
                if action == f"click[{line.target}]":
                    found.append(self._answers.product(line))
        return found

    def _gives_up(self, goal: Goal, opened: Sequence[str], left: int) -> bool:
        """Whether what was seen must do: too many misses, or too few steps to open and buy another."""
        wrong = {product for product in opened if not self._is_right(goal, product)}
        longest = max((len(self._answers.options(goal, product)) for product in wrong), default=0)
        return len(wrong) >= MOST_MISSES or left < 2 + longest + 2

    def _is_right(self, goal: Goal, product: str) -> bool:
        """Whether nothing better is to be looked for."""
        return self._answers.worth(goal, product) == 1.0

    def _best(self, goal: Goal, products: Sequence[str]) -> str:
        """The best of some products, the first of equals."""
        return max(products, key=lambda product: self._answers.worth(goal, product))

    def _on_results(self, goal: Goal, page: Page, opened: Sequence[str], left: int) -> str:
        answers = self._answers
        # A product that is listed twice is opened where it stands first.
        targets = {answers.product(line): line.target for line in reversed(page.results)}
        seen = [name for name in opened if name in targets]
        right = [name for name in seen if self._is_right(goal, name)]
        if right:
            return f"click[{targets[right[0]]}]"
        if opened and self._gives_up(goal, opened, left):
            return self._settle(goal, page, opened, targets)
        for line in page.results:
            if answers.product(line) not in opened and not answers.rules_out(goal, line):
                return f"click[{line.target}]"
        if NEXT in page.clickables and len(page.results) == RESULTS_A_PAGE:
            return f"click[{NEXT}]"
        return f"click[{BACK}]"

    def _settle(self, goal: Goal, page: Page, opened: Sequence[str], targets: Mapping[str, str]) -> str:
        """Open the best product seen so far, or go where it is."""
        best = self._best(goal, opened)
        if best in targets:
            return f"click[{targets[best]}]"
        if PREVIOUS in page.clickables:
            return f"click[{PREVIOUS}]"
        return f"click[{targets[self._best(goal, list(targets))]}]"

    def _on_item(self, goal: Goal, page: Page, opened: Sequence[str], left: int) -> str:
        answers = self._answers
        product = opened[-1]
        if not self._is_right(goal, product):
            best = self._gives_up(goal, opened, left) and self._best(goal, opened) == product
            # To buy another takes going back, opening it and buying it, at least.
            if not best and left > 3:
                return f"click[{PREVIOUS if PREVIOUS in page.clickables else BACK}]"
        chosen = set(page.chosen.values())
        missing = [option for option in answers.options(goal, product) if option not in chosen]
        if missing and left > 1:
            return f"click[{missing[0]}]"
        return f"click[{BUY}]"


def scripted_act(name: str) -> Callable[[Goal, Sequence[Page], Sequence[str]], str]:
    """The next action of a scripted policy, as Demonstrator.act gives it; it knows no answers.

    The policy is led through the pages so far and reported what was done on each, whoever did it.

    Args:
        name: of envs.scripted.POLICIES.
    """

    def act(goal: Goal, pages: Sequence[Page], actions: Sequence[str]) -> str:
        policy = POLICIES[name]()
        policy.reset(goal, 0)
        for page, action in zip(pages, actions, strict=False):
            policy.act(goal, page)
            policy.took(page, action)
        return policy.act(goal, pages[-1])

    return act
