"""A run's length from its budgets in updates and in episodes."""

from __future__ import annotations

import pytest

from tests.support.shop5_parts import composed
from webshop_rl.config.budget import planned_updates, planned_updates_of
from webshop_rl.errors import UserError
from webshop_rl.launching.signature import signature_fields


@pytest.mark.parametrize(
    ("num_updates", "num_episodes", "updates_per_collection", "planned"),
    [
        (60, None, 1, 60),
        (60, None, 4, 60),
        (None, 480, 1, 15),  # 480 / 32 collections
        (None, 480, 4, 60),  # of four updates each
        (None, 481, 4, 64),  # the collection that plays the 481st is played to its end
        (None, 0, 4, 0),
        (50, 480, 4, 50),  # whichever is reached first
        (70, 480, 4, 60),
    ],
)
def test_the_budget_reached_first_ends_a_run(
    num_updates: int | None, num_episodes: int | None, updates_per_collection: int, planned: int
) -> None:
    found = planned_updates(
        num_updates,
        num_episodes,
        episodes_per_collection=32,
        updates_per_collection=updates_per_collection,
    )
    assert found == planned


def test_a_budget_in_episodes_has_no_limit_of_updates_beside_it_unless_one_is_given() -> None:
    assert planned_updates_of(composed()) == 60
    assert planned_updates_of(composed("algo=ppo", "num_episodes=3200")) == 400
    assert planned_updates_of(composed("algo=apo_pg", "num_episodes=3200")) == 100
    assert planned_updates_of(composed("algo=ppo", "num_episodes=3200", "num_updates=7")) == 7


def test_a_run_without_an_end_is_refused() -> None:
    with pytest.raises(UserError, match=r"num_updates: the run has no end"):
        composed("num_updates=null")


def test_the_identity_of_a_run_says_how_long_it_is() -> None:
    for overrides in (("num_episodes=480", "algo=ppo"), ("num_updates=9",)):
        cfg = composed(*overrides)
        assert planned_updates_of(signature_fields(cfg)) == planned_updates_of(cfg)
    assert signature_fields(composed()) != signature_fields(composed("num_episodes=1920"))
