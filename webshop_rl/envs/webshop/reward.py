"""The score of a purchase and its parts, in [0, 1].

score = r_type * (attributes matched + options matched + price kept) / (attributes + options + 1)

Under `fidelity: original` this is the original's reward, its oddities included. Under "fixed":

1. Bought and wanted option values are compared alike. (The original replaces a bought value by the first
   colour name inside it, "wash" becoming "ash", but not a wanted value that has a name: 458 synthetic
   goals cannot be met.)
2. An option matches if its value is the wanted one, and its name too where the goal gives one. (In the
   original "large" is full credit for "3x-large", and "light pink" equals "light".)
4. Type credit is cut (to 0.5, 0.1 below a title score of 0.1, 0 at 0) only where neither query nor
   category matches. (In the original a dissimilar title alone cuts it.)

Numbers 3 and 5 are in goals.py (choose_goal) and goal_table.py (sample_prices). Source: WebShop,
arXiv:2207.01206, section 3.2; the order of tests is the original code's.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.matching import COLOURS, normalise_colour, similar
from webshop_rl.envs.webshop.product import Product

SAME_TITLE_ABOVE = 0.2
NO_NOUNS_TITLE_SCORE = 0.2
_COLOUR_PLACES: dict[str, int] = {colour: place for place, colour in enumerate(COLOURS)}


@dataclass(frozen=True)
class TypeMatch:
    """How alike two kinds of product are.

    Attributes:
        r_type: factor of the whole score: 1, 0.5, 0.1 or 0.
        query_match: the same search query leads to both.
        category_match: at least two levels of their categories are the same.
        title_score: share of the target title's nouns that stand in the bought title.
    """

    r_type: float
    query_match: bool
    category_match: bool
    title_score: float


@dataclass(frozen=True)
class Score:
    """A score with its parts; r_option and w_option are None where the goal asks for no option."""

    score: float
    type_match: TypeMatch
    r_att: float
    w_att: float
    r_option: float | None
    w_option: float | None
    r_price: bool
    w_price: float

    def parts(self) -> dict[str, float | bool]:
        """The parts under the original's names; absent ones left out."""
        parts: dict[str, float | bool] = {
            "r_type": self.type_match.r_type,
            "r_att": self.r_att,
            "w_att": self.w_att,
            "query_match": self.type_match.query_match,
            "category_match": self.type_match.category_match,
            "title_score": self.type_match.title_score,
        }
        if self.r_option is not None and self.w_option is not None:
            parts |= {"r_option": self.r_option, "w_option": self.w_option}
        return parts | {"r_price": self.r_price, "w_price": self.w_price}


def score_purchase(
    bought: Product,
    target: Product,
    goal: WebshopGoal,
    *,
    price: float,
    options: Mapping[str, str],
    fidelity: str,
) -> Score:
    """Score the purchase of a product for a goal.

    Args:
        bought: the product bought.
        target: the product the goal was made from; only its title nouns are used.
        goal: what was asked for.
        price: what was paid, dollars.
        options: option name to value, as chosen.
        fidelity: "original" or "fixed" (module docstring).
    """
    type_match = match_type(bought, target, goal, fidelity=fidelity)
    attributes = count_attributes(bought, goal)
    wanted = len(goal.options)
    matched = count_options(options, goal, fidelity=fidelity)
    r_price = price <= goal.price_upper
    whole = len(goal.attributes) + wanted + 1
    return Score(
        score=(attributes + matched + r_price) / whole * type_match.r_type,
        type_match=type_match,
        r_att=attributes / len(goal.attributes),
        w_att=len(goal.attributes) / whole,
        r_option=matched / wanted if wanted else None,
        w_option=wanted / whole if wanted else None,
        r_price=r_price,
        w_price=1 / whole,
    )


def match_type(bought: Product, target: Product, goal: WebshopGoal, *, fidelity: str) -> TypeMatch:
    """Compare the kinds of product by query, category levels and title nouns."""
    query_match, category_match = same_kind(bought, goal)
    if target.nouns:
        title_score = len(set(bought.nouns) & set(target.nouns)) / len(target.nouns)
    else:
        title_score = NO_NOUNS_TITLE_SCORE
    same = query_match or category_match or title_score > SAME_TITLE_ABOVE
    r_type = 1.0 if same else 0.5
    if fidelity == "original" or not same:
        if title_score < 0.1:
            r_type = 0.1
        if title_score == 0.0:
            r_type = 0.0
    return TypeMatch(r_type, query_match, category_match, title_score)


def same_kind(bought: Product, goal: WebshopGoal) -> tuple[bool, bool]:
    """Whether the same search query leads to both; whether two levels of their categories are the same."""
    category_match = len(_levels(bought.product_category) & _levels(goal.product_category)) >= 2
    return bought.query == goal.query, category_match


@functools.lru_cache(maxsize=4096)
def _levels(category: str) -> set[str]:
    return {level.strip() for level in category.split("\u203a")}


def count_attributes(bought: Product, goal: WebshopGoal) -> int:
    """How many attributes of the goal the product has: in its attribute list or anywhere in its texts."""
    texts = (bought.title.lower(), " ".join(bought.bullets).lower(), bought.description.lower())
    return sum(
        any(wanted in text for text in texts) or any(similar(had, wanted) for had in bought.attributes)
        for wanted in goal.attributes
    )


def count_options(options: Mapping[str, str], goal: WebshopGoal, *, fidelity: str) -> int:
    """How many of the goal's options are among those chosen."""
    if fidelity == "original":
        return _count_options_original(options, goal)
    return _count_options_fixed(options, goal)


def _count_options_original(options: Mapping[str, str], goal: WebshopGoal) -> int:
    bought = [normalise_colour(value) for value in options.values()]
    return sum(any(similar(value, wanted) for value in bought) for wanted in map(_wanted_text, goal.options))


def _wanted_text(option: tuple[str | None, str]) -> str:
    """What the original compares: a bare value colour-normalised, a pair as Python prints it.

    It looks for a colour in a pair too, but as one of its two members: only a value (or name) that is
    nothing but the colour is found.
    """
    name, value = option
    if name is None:
        return normalise_colour(value)
    colours = [member for member in option if member is not None and member in _COLOUR_PLACES]
    return min(colours, key=_COLOUR_PLACES.__getitem__) if colours else str(option)


def _count_options_fixed(options: Mapping[str, str], goal: WebshopGoal) -> int:
    values = {_plain(value) for value in options.values()}
    named = {(name.lower(), _plain(value)) for name, value in options.items()}
    return sum(
        _plain(value) in values if name is None else (name.lower(), _plain(value)) in named
        for name, value in goal.options
    )


def _plain(value: str) -> str:
    return " ".join(value.lower().split())
