"""A scripted policy that looks at several products and goes back from those that do not fit."""

from __future__ import annotations

import math
import re
from typing import Final

from webshop_rl.envs.types import BACK, BUY, PREVIOUS, Goal, Page, ResultLine

_PRICE: Final = re.compile(r",? and price lower than (\d+\.?\d*) dollars")


class BacktrackPolicy:
    """Look at the results in order, and go back unless the page offers all that is asked for.

    The query is the last words of the instruction, where its options stand. A result that costs more than
    the instruction allows is not opened. A product fits if it offers every option value that the
    instruction names ("with color: red, and size: 8"), and if the instruction says which value of each of
    its options to choose. After so many that do not fit, or after the last result, the one that comes
    closest is opened again and bought.

    Like the others it reads instruction and pages only, and nothing of the goal's target.
    """

    name = "backtrack"
    QUERY_WORDS: Final = 12
    LOOKS: Final = 5

    def reset(self, goal: Goal, seed: int) -> None:
        asked, price = _split_price(goal.instruction)
        self._query = " ".join(asked.split()[-self.QUERY_WORDS :])
        self._instruction = goal.instruction.lower()
        self._wanted = _named_values(asked.lower())
        self._price_limit = price
        self._misses: dict[str, int] = {}  # by product opened: how much of what is asked for it lacks
        self._product = ""
        self._settled = False
        self._clicked: set[str] = set()

    def act(self, goal: Goal, page: Page) -> str:
        if page.products:
            return f"click[{self._next_product(page)}]"
        if BUY in page.clickables:
            return self._on_item(page)
        if page.can_search:
            return f"search[{self._query}]"
        return f"click[{PREVIOUS if PREVIOUS in page.clickables else BACK}]"

    def took(self, page: Page, action: str) -> None:
        target = action.removeprefix("click[").removesuffix("]")
        if target in page.products:
            self._product = target
            self._clicked = set()
        if target in page.options:
            self._clicked.add(target)

    def _next_product(self, page: Page) -> str:
        new = [
            line.target for line in page.results if line.target not in self._misses and self._affordable(line)
        ]
        if new and not self._settled:
            return new[0]
        self._settled = True
        return min(page.products, key=lambda product: self._misses.get(product, math.inf))

    def _on_item(self, page: Page) -> str:
        misses = self._misses.setdefault(self._product, self._lacks(page))
        if misses and not self._settled and PREVIOUS in page.clickables:
            self._settled = len(self._misses) >= self.LOOKS
            if not self._settled or min(self._misses.values()) < misses:
                return f"click[{PREVIOUS}]"
        for option in page.options:
            if self._asked_for(option) and option not in self._clicked:
                return f"click[{option}]"
        return f"click[{BUY}]"

    def _lacks(self, page: Page) -> int:
        """Named values that the page does not offer, and its options of which the instruction names none."""
        undecided = [
            name for name, values in page.option_groups.items() if not any(map(self._asked_for, values))
        ]
        return len(set(self._wanted) - set(page.options)) + len(undecided)

    def _asked_for(self, option: str) -> bool:
        """As `rule` recognises an option, unless the instruction says where its options stand."""
        return option in self._wanted if self._wanted else option in self._instruction

    def _affordable(self, line: ResultLine) -> bool:
        prices = [float(price) for price in re.findall(r"\$([\d.]+)", line.price)]
        return not prices or min(prices) < self._price_limit


def _split_price(instruction: str) -> tuple[str, float]:
    """An instruction without "and price lower than 40.00 dollars", and that limit, inf if none is named."""
    found = _PRICE.search(instruction)
    return (instruction[: found.start()], float(found[1])) if found else (instruction, math.inf)


def _named_values(asked: str) -> tuple[str, ...]:
    """The option values that an instruction names after the name of their option, e.g. "color: red".

    Args:
        asked: the instruction in lower case, without its price.
    """
    named = re.search(r" with [^:,]+: (.*)$", asked)
    if named is None:
        return ()
    first, *others = named[1].split(", and ")
    return (first, *(other.partition(": ")[2] for other in others))
