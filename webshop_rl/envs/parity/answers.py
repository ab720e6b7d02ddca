"""What the reproduction answers to the inputs of a row, for each kind of row.

A function of ANSWERS reads a row's inputs and returns the fields that the original answered. All other
fields ("case", "source", "policy", "id") are labels that say where a row came from, and are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from webshop_rl.envs.parity.differences import first_difference, shown
from webshop_rl.envs.parity.reference import RecordedBrowser, Reference
from webshop_rl.envs.webshop.analysis import tokens
from webshop_rl.envs.webshop.browser import View
from webshop_rl.envs.webshop.goal_table import NO_PRICE_LIMIT
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.pages import render
from webshop_rl.envs.webshop.product import Product

SCORE_DIGITS: Final = 4

Content = dict[str, Any]


def compare(kind: str, content: Content, reference: Reference) -> str | None:
    """The first field of a row in which the original answered otherwise; None if there is none."""
    try:
        expected = ANSWERS[kind](content, reference)
    except _NotAnInput as error:
        return str(error)
    return first_difference(expected, {key: content[key] for key in expected if key in content})


def _goals(row: Content, reference: Reference) -> Content:
    goal = _goal(reference, _kind(row), row, "index")
    weight = 1 if goal.kind == "human" else goal.weight
    more = {"instruction_text": goal.instruction, "weight": weight, "category": goal.category}
    return _goal_fields(goal) | more | {"name": goal.name}


def _prices(row: Content, reference: Reference) -> Content:
    product = _product(row, reference)
    price = reference.synthetic.prices[product.asin]
    return {"pricing": list(product.pricing), "price_tag": product.price_tag, "price": price}


def _rewards(row: Content, reference: Reference) -> Content:
    goal = _goal(reference, _kind(row), row, "goal_index")
    product = _product(row, reference)
    options = _input(row, "options", "an object of texts", _is_texts)
    price = _input(row, "price", "a number", lambda value: type(value) in (int, float))
    score = reference.shop(goal.kind).score(product, goal, options, price=price)
    return {"reward": score.score, "info": score.parts(), "goal": _goal_fields(goal)}


def _searches(row: Content, reference: Reference) -> Content:
    query = _input(row, "query", "a text", lambda value: isinstance(value, str))
    hits = reference.synthetic.hits(query)
    scores = [round(score, SCORE_DIGITS) for _, score in hits]
    return {"asins": [asin for asin, _ in hits], "scores": scores, "tokens": tokens(query)}


def _analysis(row: Content, reference: Reference) -> Content:
    return {"tokens": tokens(_product(row, reference).index_text())}


def _trajectories(row: Content, reference: Reference) -> Content:
    initial, *steps = _replay(row, reference, _text_page)
    return {"initial": initial, "steps": steps}


def _trajectories_rich(row: Content, reference: Reference) -> Content:
    initial, *steps = _replay(row, reference, lambda view: {"obs": render(view.nodes, "text_rich")})
    return {"initial_obs": initial["obs"], "steps": steps}


ANSWERS: Final[dict[str, Callable[[Content, Reference], Content]]] = {
    "goals": _goals,
    "prices": _prices,
    "rewards": _rewards,
    "searches": _searches,
    "analysis": _analysis,
    "trajectories": _trajectories,
    "trajectories_rich": _trajectories_rich,
}


def _goal_fields(goal: WebshopGoal) -> Content:
    """What both kinds of row say of a goal, in the original's types."""
    values = [value for _, value in goal.options]
    unlimited = goal.price_upper == NO_PRICE_LIMIT  # the original's stand-in for it is a whole number
    return {
        "asin": goal.asin,
        "attributes": list(goal.attributes),
        "goal_options": values if goal.kind == "human" else dict(goal.options),
        "price_upper": NO_PRICE_LIMIT if unlimited else float(goal.price_upper),
        "query": goal.query,
        "product_category": goal.product_category,
    }


def _text_page(view: View) -> Content:
    actions = {"has_search_bar": view.has_search_bar, "clickables": list(view.clickables)}
    return {"obs": render(view.nodes, "text"), "available_actions": actions}


def _replay(row: Content, reference: Reference, page: Callable[[View], Content]) -> Iterator[Content]:
    """The first page, then each step's action, page, reward and end."""
    human = _input(row, "human_goals", "true or false", lambda value: isinstance(value, bool))
    goal = _goal(reference, "human" if human else "synthetic", row, "goal_index")
    steps = _input(row, "steps", "a list of steps, each with an action", _have_actions)
    browser = RecordedBrowser(reference.shop(goal.kind), goal)
    yield page(browser.view)
    for action in (step["action"] for step in steps):
        browser.act(action)
        yield {"action": action, **page(browser.view), "reward": browser.reward, "done": browser.done}


class _NotAnInput(Exception):
    """A field of a row cannot be the input that it should be."""


def _input(row: Content, field: str, wanted: str, fits: Callable[[Any], bool]) -> Any:
    if field not in row or not fits(row[field]):
        found = shown(row[field]) if field in row else "no such field"
        raise _NotAnInput(f"{field}: expected {wanted}, found {found}")
    return row[field]


def _kind(row: Content) -> str:
    return str(_input(row, "kind", "human or synthetic", lambda value: value in ("human", "synthetic")))


def _goal(reference: Reference, kind: str, row: Content, field: str) -> WebshopGoal:
    goals = reference.shop(kind).goals("all")
    wanted = f"a whole number below {len(goals)}"
    index: int = _input(row, field, wanted, lambda v: type(v) is int and 0 <= v < len(goals))
    return goals[index]


def _product(row: Content, reference: Reference) -> Product:
    products = reference.products
    asin = _input(row, "asin", "an ASIN of the catalogue", lambda v: isinstance(v, str) and v in products)
    return products[asin]


def _is_texts(options: Any) -> bool:
    return isinstance(options, dict) and all(isinstance(value, str) for value in options.values())


def _have_actions(steps: Any) -> bool:
    if not isinstance(steps, list) or not steps:
        return False
    return all(isinstance(step, dict) and isinstance(step.get("action"), str) for step in steps)
