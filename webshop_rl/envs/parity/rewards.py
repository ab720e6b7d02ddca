"""Rows of kind "rewards": a purchase for a goal, its score and the parts of the score."""

from __future__ import annotations

from collections.abc import Callable

from webshop_rl.envs.parity.catalogue_rows import recorded_options, recorded_price_upper
from webshop_rl.envs.parity.differences import Difference, first_difference, rule
from webshop_rl.envs.parity.reference import Reference
from webshop_rl.envs.parity.rows import Checker, Content, check_id
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.product import Product

NEIGHBOURS = 10


def rewards_checker(reference: Reference) -> Checker:
    """Goal, score and parts follow from goal_index and purchase; the purchase is held to its case."""

    def compare(row: Content) -> Difference | None:
        goal = reference.goal(row.get("kind"), row.get("goal_index"))
        if goal is None:
            return rule("kind, goal_index", "a goal of these shops", (row.get("kind"), row.get("goal_index")))
        if row.get("asin") not in reference.places:
            return rule("asin", "a product of the catalogue", row.get("asin"))
        product = reference.synthetic.product(row["asin"])
        return (
            check_id(row)
            or _check_options(row.get("options"), product)
            or _check_price(row, goal, reference)
            or first_difference(_expected(row, goal, product, reference), row)
            or _check_case(row, goal, product, reference)
        )

    return Checker("rewards", "id", lambda row: ("", row["id"]), compare)


def _expected(row: Content, goal: WebshopGoal, product: Product, reference: Reference) -> Content:
    shop = reference.shop(goal.kind) or reference.synthetic
    score = shop.score(product, goal, row["options"], price=row["price"])
    return {
        "case": row.get("case"),
        "kind": goal.kind,
        "goal_index": goal.index,
        "asin": product.asin,
        "options": row["options"],
        "price": row["price"],
        "reward": score.score,
        "info": score.parts(),
        "goal": {
            "asin": goal.asin,
            "attributes": list(goal.attributes),
            "goal_options": recorded_options(goal),
            "price_upper": recorded_price_upper(goal),
            "query": goal.query,
            "product_category": goal.product_category,
        },
        "id": row["id"],
    }


def _check_options(options: object, product: Product) -> Difference | None:
    if not isinstance(options, dict):
        return rule("options", "an object", options)
    for name, value in options.items():
        if value not in product.options.get(name, ()):
            return rule(f"options.{name}", f"a value that {product.asin} offers", value)
    return None


def _check_price(row: Content, goal: WebshopGoal, reference: Reference) -> Difference | None:
    """The price paid is the product's, but for rows that try the edges of the price limit."""
    price, limit = row.get("price"), recorded_price_upper(goal)
    if row.get("case") == "price_edge":
        edges = [limit, limit - 0.01, limit + 0.01, limit * 1.5, 0.0]
        # Written as a whole number or not, where there is no limit.
        allowed = [*map(float, edges), *([limit] if isinstance(limit, int) else [])]
        if not any(repr(price) == repr(edge) for edge in allowed):
            return rule("price", f"the limit {limit}, 0.01 beside it, half as much again, or 0.0", price)
        return None
    return first_difference(reference.synthetic.prices[row["asin"]], price, "price")


def _check_case(row: Content, goal: WebshopGoal, product: Product, reference: Reference) -> Difference | None:
    case = row["case"]
    known = {name: told for (name, kind), told in CASES.items() if kind in (goal.kind, "any")}
    if case not in known:
        return rule("case", f"one of {', '.join(known)} for {goal.kind} goals", case)
    test, told = known[case]
    return None if test(row["options"], goal, product, reference) else rule("case", told, case)


CaseTest = Callable[[dict[str, str], WebshopGoal, Product, Reference], bool]


def _exact(options: dict[str, str], goal: WebshopGoal, product: Product, _: Reference) -> bool:
    if product.asin != goal.asin:
        return False
    if goal.kind == "human":
        return sorted(options.values()) == sorted(value for _, value in goal.options)
    return options == dict(goal.options)


def _one_changed(options: dict[str, str], goal: WebshopGoal, product: Product, _: Reference) -> bool:
    wanted = {str(name): value for name, value in goal.options}
    return (
        product.asin == goal.asin
        and bool(wanted)
        and options.keys() == wanted.keys()
        and sum(options[name] != value for name, value in wanted.items()) <= 1
    )


def _one_missing(options: dict[str, str], goal: WebshopGoal, product: Product, _: Reference) -> bool:
    wanted = {str(name): value for name, value in goal.options}
    return product.asin == goal.asin and len(wanted) - len(options) == 1 and options.items() <= wanted.items()


def _none(options: dict[str, str], goal: WebshopGoal, product: Product, _: Reference) -> bool:
    return product.asin == goal.asin and not options and bool(product.options)


def _random_options(options: dict[str, str], goal: WebshopGoal, product: Product, _: Reference) -> bool:
    whole = options.keys() == product.options.keys() or goal.kind == "human"
    return product.asin == goal.asin and bool(product.options) and whole


def _same_query(_: dict[str, str], goal: WebshopGoal, product: Product, reference: Reference) -> bool:
    others = any(
        other.query == goal.query and other.asin != goal.asin for other in reference.synthetic.products
    )
    alike = product.query == goal.query if others else product.category == goal.category
    return alike and product.asin != goal.asin


def _same_category(options: dict[str, str], goal: WebshopGoal, product: Product, _: Reference) -> bool:
    return product.category == goal.category and _by_chance(options, goal, product, _)


def _neighbour(_: dict[str, str], goal: WebshopGoal, product: Product, reference: Reference) -> bool:
    hits = reference.synthetic.hits(goal.instruction.lower())[:NEIGHBOURS]
    # For synthetic goals the target itself was never taken.
    excluded = goal.asin if goal.kind == "synthetic" else None
    return product.asin in {asin for asin, _ in hits} - {excluded}


def _by_chance(options: dict[str, str], goal: WebshopGoal, product: Product, _: Reference) -> bool:
    """The target may be drawn like any product, but not with just the options asked for."""
    return not (product.asin == goal.asin and options and options == recorded_options(goal))


# (case, kind of goal or "any"): the test, and what it says.
CASES: dict[tuple[str, str], tuple[CaseTest, str]] = {
    ("exact", "any"): (_exact, "another, for the purchase is not exactly what was asked for"),
    ("price_edge", "any"): (_exact, "another, for the purchase is not exactly what was asked for"),
    ("no_options", "any"): (_none, "another, for that is the target of a product with options, with none"),
    ("random_options", "any"): (_random_options, "another, for that is the target with all its options"),
    ("random_product", "any"): (_by_chance, "another, for the purchase is exactly what was asked for"),
    ("search_neighbour", "any"): (_neighbour, "another, for the product is not among the first ten hits"),
    ("one_option_changed", "synthetic"): (_one_changed, "another, for more than one option differs"),
    ("one_option_missing", "synthetic"): (_one_missing, "another, for it is not all options but one"),
    ("same_query", "synthetic"): (_same_query, "another, for the product has another query"),
    ("same_category", "synthetic"): (
        _same_category,
        "another, for the product has another category or is what was asked for",
    ),
}
