"""Demonstrators: whole episodes, pages that others led to, and goals that they must know nothing of."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from webshop_rl.envs.demonstrators import MOST_MISSES, Demonstrator
from webshop_rl.envs.scripted import RandomPolicy
from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.envs.types import Answers, Goal, Page, ResultLine, Session
from webshop_rl.envs.webshop.answers import _words
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.shop import WebShop


@pytest.fixture(scope="module")
def shop(webshop_data_dir: Path) -> WebShop:
    return WebShop(data_dir=str(webshop_data_dir), num_products=300)


def _play(
    session: Session, demonstrator: Demonstrator, goal: Goal, first: int = 0
) -> tuple[list[str], float]:
    """Actions and score of an episode whose first actions are random ones."""
    pages, actions = [session.reset_to(goal, seed=1)], list[str]()
    stray = RandomPolicy()
    stray.reset(goal, first)
    while True:
        act = demonstrator.act(goal, pages, actions) if len(actions) >= first else stray.act(goal, pages[-1])
        step = session.step(act)
        assert step.applied, (act, pages[-1].clickables)
        actions.append(act)
        pages.append(step.page)
        if step.terminated or step.truncated:
            return actions, step.score


def test_shop5_is_solved_whatever_came_first() -> None:
    shop = Shop5(distractors=4)
    demonstrator = Demonstrator(shop.answers(), shop.max_steps)
    for goal in shop.goals("train"):
        actions, score = _play(shop.session(), demonstrator, goal)
        assert (len(actions), score) == (3, 1.0)
    ends = [_play(shop.session(), demonstrator, goal, 2) for goal in shop.goals("train")]
    assert all(score == 1.0 or len(actions) == 2 for actions, score in ends)  # 2: chance bought at once


def test_most_training_goals_of_webshop_are_met(shop: WebShop) -> None:
    demonstrator = Demonstrator(shop.answers(), shop.max_steps)
    goals = random.Random(0).sample(list(shop.goals("train")), 60)
    played = [_play(shop.session(), demonstrator, goal) for goal in goals]
    assert sum(score == 1.0 for _, score in played) > 45
    assert all(actions[-1] == "click[buy now]" for actions, _ in played)


@pytest.mark.parametrize("first", [1, 3, 6, 12])
def test_any_page_that_chance_led_to_has_an_answer(shop: WebShop, first: int) -> None:
    demonstrator = Demonstrator(shop.answers(), shop.max_steps)
    for goal in random.Random(first).sample(list(shop.goals("train")), 40):
        _play(shop.session(), demonstrator, goal, first)  # asserts that each of its actions applies


@pytest.mark.parametrize("split", ["val", "test"])
def test_goals_outside_the_training_split_are_refused(shop: WebShop, split: str) -> None:
    demonstrator, answers = Demonstrator(shop.answers(), shop.max_steps), shop.answers()
    goal = shop.goals(split)[0]
    with pytest.raises(ValueError, match="not a training goal"):
        demonstrator.act(goal, [shop.session().reset_to(goal, seed=0)], [])
    product = goal.asin.lower()
    for ask in (answers.worth, answers.options):
        with pytest.raises(ValueError, match="not a training goal"):
            ask(goal, product)
    with pytest.raises(ValueError, match="not a training goal"):
        answers.query(goal)


def test_a_query_is_a_window_of_the_instruction_without_the_price(shop: WebShop) -> None:
    answers = shop.answers()
    for goal in random.Random(0).sample(list(shop.goals("train")), 40):
        query = answers.query(goal)
        assert "price lower" not in query
        plain = " ".join("".join(c for c in goal.instruction.lower() if c not in ".,;:!?\"'()").split())
        assert "".join(c for c in query if c not in ".,;:!?\"'()") in plain


def test_the_whole_instruction_is_searched_for_where_that_finds_the_target(shop: WebShop) -> None:
    """A policy cannot know which shorter query the catalogue answers better."""
    answers = shop.answers()
    by_product: dict[str, list[WebshopGoal]] = {}
    for goal in shop.goals("train"):
        by_product.setdefault(goal.asin, []).append(goal)

    def place(query: str, goal: WebshopGoal) -> int:
        hits = [asin for asin, _ in shop.hits(query)]
        return hits.index(goal.asin) if goal.asin in hits else len(hits)

    kept, shortened = 0, 0
    for goals in by_product.values():
        wholes = {goal: " ".join(_words(goal)) for goal in goals}
        places = [place(whole, goal) for goal, whole in wholes.items()]
        if max(places) < 3:
            assert all(answers.query(goal) == whole for goal, whole in wholes.items())
            kept += 1
        elif min(places) > 10:
            goal = goals[0]
            assert answers.query(goal) in wholes[goal]
            shortened += place(answers.query(goal), goal) < place(wholes[goal], goal)
    assert kept > 20
    assert shortened > 2


def test_options_are_chosen_in_the_order_in_which_the_instruction_names_them(shop: WebShop) -> None:
    answers, several = shop.answers(), 0
    for goal in shop.goals("train")[::20]:
        options = answers.options(goal, goal.asin.lower())
        places = [goal.instruction.rindex(f": {value}") for value in options]
        assert places == sorted(places)
        several += len(options) > 1
    assert several > 10


def test_what_the_page_lacks_decides_where_the_target_is_not_known_by_sight(shop: WebShop) -> None:
    answers, fits, lacks = shop.answers(), 0, 0
    for goal in shop.goals("train")[::25]:
        wanted = {value for _, value in goal.options}
        assert answers.worth(goal, goal.asin.lower()) == 1.0
        for product in shop.products:
            if product.asin == goal.asin:
                continue
            values = [set(group) for group in product.options.values()]
            offered = wanted <= set().union(*values) and all(group & wanted for group in values)
            affordable = min(product.pricing) <= goal.price_upper
            if offered and affordable:
                assert answers.worth(goal, product.asin.lower()) == 1.0
                fits += 1
            elif answers.worth(goal, product.asin.lower()) < 1:
                lacks += 1
    assert fits > 5
    assert lacks > 1000


def test_of_two_products_that_do_not_fit_the_one_that_lacks_less_is_worth_more(shop: WebShop) -> None:
    answers = shop.answers()
    goal = next(goal for goal in shop.goals("train") if len(goal.options) > 1)
    wanted = {value for _, value in goal.options}

    def missing(product: Product) -> int:
        values = [set(group) for group in product.options.values()]
        undecided = sum(not group & wanted for group in values)
        return len(wanted - set().union(*values)) + undecided + (min(product.pricing) > goal.price_upper)

    others = [product for product in shop.products if product.asin != goal.asin]
    worths = {missing(product): answers.worth(goal, product.asin.lower()) for product in others}
    assert len(worths) > 3
    assert [worths[number] for number in sorted(worths)] == sorted(worths.values(), reverse=True)


class _Ten(Answers):
    """Ten products, of which those named by `worths` are worth something; two options of each are wanted."""

    def __init__(self, worths: dict[str, float], *ruled_out: str) -> None:
        self._worths = worths
        self._ruled_out = ruled_out

    def query(self, goal: Goal) -> str:
        return "red"

    def product(self, line: ResultLine) -> str:
        return line.target

    def rules_out(self, goal: Goal, line: ResultLine) -> bool:
        return line.target in self._ruled_out

    def worth(self, goal: Goal, product: str) -> float:
        return self._worths.get(product, 0.1)

    def options(self, goal: Goal, product: str) -> tuple[str, ...]:
        return ("8", "navy")


GOAL = Goal("g/0", "p7", "a red thing")
SEARCH = Page("", "", can_search=True, clickables=(), kind="search")
TARGETS = tuple(f"p{i}" for i in range(10))
RESULTS = Page(
    "",
    "",
    can_search=False,
    clickables=("back to search", "next >", *TARGETS),
    products=TARGETS,
    kind="results",
    results=tuple(ResultLine(target, target, "$1") for target in TARGETS),
)


def _item(**chosen: str) -> Page:
    clickables = ("back to search", "< prev", "8", "9", "navy", "buy now")
    return Page("", "", False, clickables, options=("8", "9", "navy"), kind="item", chosen=chosen)


def _misses(number: int) -> tuple[list[Page], list[str]]:
    """The first results opened in order and left again, back at the results."""
    pages, actions = [SEARCH, RESULTS], ["search[red]"]
    for target in TARGETS[:number]:
        pages += [_item(), RESULTS]
        actions += [f"click[{target}]", "click[< prev]"]
    return pages, actions


def test_results_are_opened_in_order_and_left_if_wrong() -> None:
    demonstrator = Demonstrator(_Ten({"p7": 1.0}), 40)
    pages, actions = _misses(2)
    assert demonstrator.act(GOAL, pages, actions) == "click[p2]"
    assert demonstrator.act(GOAL, [*pages, _item()], [*actions, "click[p2]"]) == "click[< prev]"
    assert Demonstrator(_Ten({"p7": 1.0}, "p2", "p3"), 40).act(GOAL, pages, actions) == "click[p4]"
    none = Demonstrator(_Ten({}, *TARGETS), 40)
    assert none.act(GOAL, [SEARCH, RESULTS], ["search[red]"]) == "click[next >]"


def test_what_is_right_is_bought_with_the_options_that_are_missing() -> None:
    demonstrator = Demonstrator(_Ten({"p0": 1.0}), 40)
    pages, actions = [SEARCH, RESULTS, _item()], ["search[red]", "click[p0]"]
    assert demonstrator.act(GOAL, pages, actions) == "click[8]"
    # A wrong value of the size is replaced by the wanted one.
    assert demonstrator.act(GOAL, [*pages, _item(size="9")], [*actions, "click[9]"]) == "click[8]"
    assert demonstrator.act(GOAL, [*pages, _item(size="8")], [*actions, "click[8]"]) == "click[navy]"
    both = _item(size="8", color="navy")
    assert demonstrator.act(GOAL, [*pages, both], [*actions, "click[8]"]) == "click[buy now]"


def test_after_the_last_miss_the_best_is_opened_again_and_bought() -> None:
    demonstrator = Demonstrator(_Ten({"p3": 0.5, "p9": 1.0}), 40)
    pages, actions = _misses(MOST_MISSES)
    assert demonstrator.act(GOAL, pages, actions) == "click[p3]"
    assert demonstrator.act(GOAL, [*pages, _item()], [*actions, "click[p3]"]) == "click[8]"


def test_what_was_left_by_mistake_is_opened_again() -> None:
    demonstrator = Demonstrator(_Ten({"p1": 1.0}), 40)
    assert demonstrator.act(GOAL, *_misses(3)) == "click[p1]"


def test_when_steps_run_out_the_best_so_far_is_bought() -> None:
    # 5 actions so far; to open, choose two options and buy takes 4, to look at another first 6.
    pages, actions = _misses(2)
    assert Demonstrator(_Ten({"p1": 0.5}), 11).act(GOAL, pages, actions) == "click[p2]"
    assert Demonstrator(_Ten({"p1": 0.5}), 10).act(GOAL, pages, actions) == "click[p1]"
    # The last step buys, options or not.
    at_item = [*pages, _item()], [*actions, "click[p2]"]
    assert Demonstrator(_Ten({}), 7).act(GOAL, *at_item) == "click[buy now]"
    assert Demonstrator(_Ten({}), 20).act(GOAL, *at_item) == "click[< prev]"
