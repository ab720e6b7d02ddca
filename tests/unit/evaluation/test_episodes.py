"""Which episodes are evaluated."""

from __future__ import annotations

from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.envs.types import Goal
from webshop_rl.evaluation.episodes import describe_episodes, evaluation_specs

GOALS = [Goal(f"g{i}", f"asin{i}", f"wish {i}") for i in range(10)]


def test_fewer_goals_than_episodes_are_taken_in_turn() -> None:
    specs = evaluation_specs(GOALS[:3], 7, seed=1)
    order = [s.goal.id for s in specs[:3]]
    assert sorted(order) == ["g0", "g1", "g2"]
    assert [s.goal.id for s in specs] == [*order, *order, order[0]]
    assert [s.sample for s in specs] == [0, 0, 0, 1, 1, 1, 2]
    assert len({s.seed for s in specs}) == 7


def test_no_product_is_played_again_before_every_other_that_has_goals_left() -> None:
    """Products of 1, 2, 3 and 10 goals: rounds of 4, 3 and 2 products, then the large one alone."""
    sizes = {"a": 1, "b": 2, "c": 3, "d": 10}
    goals = [Goal(f"{asin}{i}", asin, "") for asin, size in sizes.items() for i in range(size)]
    for seed in range(5):
        products = [s.goal.asin for s in evaluation_specs(goals, 16, seed=seed)]
        assert [set(products[:4]), set(products[4:7]), set(products[7:9])] == [
            set("abcd"),
            set("bcd"),
            set("cd"),
        ]
        assert products[9:] == ["d"] * 7
        whole = [s.goal.id for s in evaluation_specs(goals, None, seed=seed)]
        assert sorted(whole) == sorted(goal.id for goal in goals)
        assert [s.goal.id for s in evaluation_specs(goals, 6, seed=seed)] == whole[:6]
    first = {evaluation_specs(goals, 1, seed=seed)[0].goal.id for seed in range(40)}
    assert {goal[0] for goal in first} == set("abcd")
    assert len(first) > 8  # which goal of a product comes first is drawn, too


def test_more_goals_than_episodes_are_picked_and_always_the_same() -> None:
    for number in range(1, 11):
        assert len({s.goal.id for s in evaluation_specs(GOALS, number, seed=1)}) == number
    assert evaluation_specs(GOALS, 4, seed=1) == evaluation_specs(GOALS, 4, seed=1)
    assert evaluation_specs(GOALS, 4, seed=1) != evaluation_specs(GOALS, 4, seed=2)


class Splits(Shop5):
    """A shop of three goals of two products, one of them to train on."""

    def __init__(self, train: str) -> None:
        super().__init__()
        self._train = train

    def goals(self, split: str) -> list[Goal]:
        test = [Goal("a0", "a", ""), Goal("b0", "b", "")]
        return [Goal(self._train, self._train[0], "")] if split == "train" else test


def test_what_was_played_in_words() -> None:
    played = [{"goal": "a0", "asin": "a"}, {"goal": "b0", "asin": "b"}]

    def seen(train: str) -> str:
        return describe_episodes(Splits(train), "test", played).partition(", ")[0]

    assert seen("a0") == "test goals (these are training goals)"
    assert seen("a1") == "test goals (held-out goals of products seen in training)"
    assert seen("c0") == "test goals (held-out products)"
    shop = Splits("c0")
    assert describe_episodes(shop, "all", played) == "all goals, 2 episodes, 2 goals of 2 products"
    # Shares 5/6 and 1/6: 1 / (25/36 + 1/36).
    more = [*played, *4 * [played[0]]]
    assert describe_episodes(shop, "train", more) == (
        "training goals, 6 episodes, 2 goals of 2 products (in effect 1.4)"
    )
