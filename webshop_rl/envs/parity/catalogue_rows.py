"""Rows that the catalogue alone decides: goals, prices, and the tokens of each product's index text."""

from __future__ import annotations

from webshop_rl.envs.parity.differences import Difference, first_difference, rule
from webshop_rl.envs.parity.reference import Reference
from webshop_rl.envs.parity.rows import Checker, Content
from webshop_rl.envs.webshop.analysis import tokens
from webshop_rl.envs.webshop.goals import NO_PRICE_LIMIT, WebshopGoal


def goals_checker(reference: Reference) -> Checker:
    """Rows of kind "goals": every field follows from kind and index."""

    def compare(row: Content) -> Difference | None:
        goal = reference.goal(row.get("kind"), row.get("index"))
        if goal is None:
            return rule("kind, index", "a goal of these shops", (row.get("kind"), row.get("index")))
        expected = {
            "kind": goal.kind,
            "index": goal.index,
            "asin": goal.asin,
            "instruction_text": goal.instruction,
            "attributes": list(goal.attributes),
            "goal_options": recorded_options(goal),
            "price_upper": recorded_price_upper(goal),
            "weight": 1 if goal.kind == "human" else goal.weight,
            "query": goal.query,
            "category": goal.category,
            "product_category": goal.product_category,
            "name": goal.name,
        }
        return first_difference(expected, row)

    return Checker("goals", "index", lambda row: (row["kind"], row["index"]), compare)


def prices_checker(reference: Reference) -> Checker:
    """Rows of kind "prices": every field follows from the ASIN."""

    def compare(row: Content) -> Difference | None:
        if row.get("asin") not in reference.places:
            return rule("asin", "a product of the catalogue", row.get("asin"))
        product = reference.synthetic.product(row["asin"])
        expected = {
            "asin": product.asin,
            "pricing": list(product.pricing),
            "price_tag": product.price_tag,
            "price": reference.synthetic.prices[product.asin],
        }
        return first_difference(expected, row)

    return Checker("prices", "asin", lambda row: ("", reference.places[row["asin"]]), compare)


def analysis_checker(reference: Reference) -> Checker:
    """Rows of kind "analysis": the tokens follow from the ASIN."""

    def compare(row: Content) -> Difference | None:
        if row.get("asin") not in reference.places:
            return rule("asin", "a product of the catalogue", row.get("asin"))
        product = reference.synthetic.product(row["asin"])
        return first_difference({"asin": product.asin, "tokens": tokens(product.index_text())}, row)

    return Checker("analysis", "asin", lambda row: ("", reference.places[row["asin"]]), compare)


def recorded_options(goal: WebshopGoal) -> dict[str, str] | list[str]:
    """Goal options as the original holds them: by name in synthetic goals, values alone in human ones."""
    if goal.kind == "human":
        return [value for _, value in goal.options]
    return {str(name): value for name, value in goal.options}


def recorded_price_upper(goal: WebshopGoal) -> float:
    """The price limit as the original types it: the stand-in for no limit is a whole number."""
    return NO_PRICE_LIMIT if goal.price_upper == NO_PRICE_LIMIT else float(goal.price_upper)
