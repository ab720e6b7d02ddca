"""Reasons of failure: episodes of policies whose fault is known, in the real shop and in shop5."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.records import completed
from tests.support.faulty_policies import FAULTS, IN_SHOP5, Known, NotPossible, Scripted
from webshop_rl.envs.scripted import POLICIES, run_episode
from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.evaluation.policies import scripted_trajectory
from webshop_rl.evaluation.reasons import Reason, count_reasons, reason
from webshop_rl.evaluation.records import episode_record
from webshop_rl.rollout.episode import EpisodeSpec

NEW = ("kind", "page_kind", "asins", "chosen")


def episodes(shop: Any, fault: str) -> Iterator[dict[str, Any]]:
    known = Known(shop)
    script = FAULTS[fault][0]
    for goal in shop.goals("all"):
        try:
            played = run_episode(shop.session(), Scripted(lambda g: script(known, g)), goal, 0)
        except NotPossible:
            continue
        yield episode_record(scripted_trajectory(EpisodeSpec(goal, 0, 0), played))


def as_written_before(record: dict[str, Any]) -> dict[str, Any]:
    turns = [{key: value for key, value in turn.items() if key not in NEW} for turn in record["turns"]]
    return {key: value for key, value in record.items() if key != "bought"} | {"turns": turns}


@pytest.fixture(scope="module")
def known_faults(webshop_data_dir: Path) -> list[tuple[str, dict[str, Any]]]:
    """100 failed episodes: ten of each fault, of ten goals each."""
    shop = WebShop(data_dir=str(webshop_data_dir), num_products=1000)
    found = []
    for fault in FAULTS:
        ten = [record for _, record in zip(range(10), episodes(shop, fault), strict=False)]
        found += [(fault, record) for record in ten]
    assert len(found) == 100
    return found


def test_known_faults_are_named_in_98_of_100_episodes_of_the_real_shop(known_faults) -> None:
    wrong = [(f, str(reason(r))) for f, r in known_faults if reason(r) != FAULTS[f][1]]
    assert len(wrong) <= 2, Counter(wrong)


def test_older_records_tell_nearly_as_much(known_faults) -> None:
    old = [(fault, completed(as_written_before(record))) for fault, record in known_faults]
    wrong = [(f, str(reason(r))) for f, r in old if reason(r) != FAULTS[f][1]]
    assert len(wrong) <= 5, Counter(wrong)


def test_known_faults_are_named_in_the_five_product_shop() -> None:
    for fault in IN_SHOP5:
        played = list(episodes(Shop5(), fault))
        assert len(played) >= 4, fault
        assert {reason(record) for record in played} == {FAULTS[fault][1]}, fault


def test_older_records_of_the_five_product_shop_take_no_place_in_a_list_for_a_product() -> None:
    """There click[1] opens what is listed first, and "1" is a product's name, too."""
    for fault in ("wrong_product", "never_listed_and_bought"):
        old = [completed(as_written_before(record)) for record in episodes(Shop5(), fault)]
        assert {reason(record) for record in old} == {FAULTS[fault][1]}, fault


def by_rank(record: dict[str, Any]) -> dict[str, Any]:
    """An older record of a policy that sees "item 1" in the place of each product's name."""
    turns = []
    for turn in as_written_before(record)["turns"]:
        page = turn["page"]
        found = dict.fromkeys(re.findall(r"\bB0[0-9A-Z]{8}\b", page))
        for rank, asin in enumerate(found, 1):
            page = page.replace(asin, f"item {rank}")
        turns.append({**turn, "page": page})
    return as_written_before(record) | {"turns": turns}


def test_older_lists_by_rank_are_not_taken_for_lists_without_the_right_product(
    known_faults,
) -> None:
    lists = {Reason.NEVER_LISTED, Reason.WRONG_PRODUCT}
    changed = {(fault, reason(completed(by_rank(record)))) for fault, record in known_faults}
    assert Reason.NEVER_LISTED not in {found for _, found in changed}
    assert Reason.NOT_RIGHT in {found for _, found in changed}
    # What does not depend on lists is named as before.
    for fault, found in changed:
        if FAULTS[fault][1] not in lists | {Reason.OUT_OF_STEPS}:
            assert found in {FAULTS[fault][1], Reason.UNEXPLAINED, Reason.OUT_OF_STEPS}, fault


def test_success_has_no_reason_and_every_failure_has_one(webshop_data_dir: Path) -> None:
    shop = WebShop(data_dir=str(webshop_data_dir), num_products=100)
    played = [
        episode_record(
            scripted_trajectory(EpisodeSpec(g, 0, 0), run_episode(shop.session(), POLICIES[p](), g, 0))
        )
        for p in POLICIES
        for g in shop.goals("all")[:40]
    ]
    assert count_reasons(played).total() == sum(not record["success"] for record in played)
    assert {reason(record) is None for record in played if record["success"]} <= {True}


def bought(chosen: dict[str, str], **parts: float) -> dict[str, Any]:
    """One turn that buys product A, asked for in red."""
    full = {"r_type": 1.0, "r_att": 1.0, "r_price": 1.0, "r_option": 0.0, "w_option": 0.25, "w_price": 0.25}
    turn = {"page_kind": "item", "asins": ["A"], "kind": "buy", "action": "click[buy now]", "valid": True}
    turn |= {"chosen": chosen, "parts": full | parts}
    record = {"asin": "A", "bought": "A", "end": "bought", "success": False, "turns": [turn]}
    return record | {"instruction": "a lamp with color: light red"}


def test_options_that_were_chosen_as_asked_are_not_blamed() -> None:
    assert reason(bought({})) is Reason.NO_OPTIONS
    assert reason(bought({"color": "blue"})) is Reason.WRONG_OPTION
    assert reason(bought({"color": "light red"})) is Reason.UNEXPLAINED  # the shop's own oddity
    assert reason(bought({"color": "re"})) is Reason.WRONG_OPTION  # no word of the instruction
    assert reason(bought({}, r_price=0.0)) is Reason.OVER_PRICE  # no option mends a price
