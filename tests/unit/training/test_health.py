"""Warnings that come before a collapse, each by the metrics that call for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.shop5_parts import composed
from webshop_rl.config.health import CHECKS, HealthConfig
from webshop_rl.config.load import as_typed
from webshop_rl.errors import UserError
from webshop_rl.training.health import HealthChecks, fallen

CONFIG = as_typed(composed()).health
WINDOW = CONFIG.window

FINE = {
    "train/success": 0.5,
    "train/return_std": 0.4,
    "train/invalid_frac": 0.1,
    "train/decision_entropy": 0.5,
    "train/replies_alike_frac": 0.3,
    "algo/advantage_std": 1.0,
    "algo/advantage_max": 2.0,
    "algo/group_return_std": 0.3,
    "algo/groups_equal_frac": 0.25,
    "algo/ratio_clipped_frac": 0.1,
    "sampler/gap_mean": 0.02,
    "optim/grad_norm": 1.0,
    "vstar/max": 1.0,
    "vstar/std": 0.2,
}


def watch(*rows: dict[str, float], config: HealthConfig = CONFIG) -> list[str]:
    """What fails at the last of these updates."""
    checks = HealthChecks(config)
    return [checks.look(row) for row in rows][-1]


def test_a_healthy_run_is_left_in_peace() -> None:
    assert watch(*[FINE] * 30) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("vstar_not_positive", {"vstar/max": 0.0}),
        ("vstar_constant", {"vstar/std": 0.0}),
        ("advantages_vanish", {"algo/advantage_std": 0.0}),
        ("advantages_negative", {"algo/advantage_max": -0.1}),
        ("clipped", {"algo/ratio_clipped_frac": 0.6}),
        ("no_success", {"train/success": 0.0}),
        ("returns_alike", {"algo/group_return_std": 0.0, "algo/groups_equal_frac": 1.0}),
        ("actions_invalid", {"train/invalid_frac": 0.6}),
        ("entropy_drains", {"train/decision_entropy": 0.01}),
        ("replies_alike", {"train/replies_alike_frac": 0.95}),
        ("sampler_differs", {"sampler/gap_mean": 0.2}),
    ],
)
def test_each_check_fires_on_its_sign_alone(name: str, change: dict[str, float]) -> None:
    sick = {**FINE, **change}
    assert watch(*[sick] * WINDOW) == [name]
    assert watch(*[sick] * WINDOW, FINE) == []
    assert name in CHECKS
    assert HealthChecks(CONFIG).advice(name).startswith(f"{name}: ")


@pytest.mark.parametrize("key", ["train/success", "algo/group_return_std", "algo/advantage_max"])
def test_one_good_update_in_the_window_is_enough(key: str) -> None:
    sick = {**FINE, key: -0.1 if "max" in key else 0.0}
    assert watch(*[sick] * (WINDOW - 1)) == []
    assert watch(FINE, *[sick] * (WINDOW - 1)) == []
    assert watch(FINE, *[sick] * WINDOW) != []


def test_a_spike_is_ten_times_the_median_of_the_window() -> None:
    rows = [{**FINE, "optim/grad_norm": float(i)} for i in range(1, WINDOW)]  # median 5
    assert watch(*rows, {**FINE, "optim/grad_norm": 49.0}) == []
    assert watch(*rows, {**FINE, "optim/grad_norm": 51.0}) == ["grad_spike"]
    assert watch(*[{**FINE, "optim/grad_norm": float("nan")}] * 20) == []


def test_equal_returns_are_no_warning_where_all_succeed() -> None:
    solved = {**FINE, "train/success": 1.0, "algo/group_return_std": 0.0, "algo/advantage_std": 0.0}
    assert watch(*[solved] * 20) == []


def test_returns_that_differ_between_goals_alone_are_alike() -> None:
    """Half the goals always succeed and half always fail: no group teaches anything."""
    alike = {**FINE, "algo/group_return_std": 0.0, "algo/groups_equal_frac": 1.0}
    assert alike["train/return_std"] > 0
    assert watch(*[alike] * 12) == ["returns_alike"]


def test_groups_of_one_are_not_called_alike() -> None:
    single = {**FINE, "algo/group_return_std": 0.0, "algo/groups_equal_frac": 0.0}
    assert watch(*[single] * 20) == []


def collections(steps: int, **change: Any) -> list[dict[str, float]]:
    """Updates of collections that serve several: episodes are measured at the first only."""
    rows = []
    for update in range(24):
        row = {**FINE, **change}
        rows.append(row if update % steps == 0 else {k: v for k, v in row.items() if "train/" not in k})
    return rows


def test_several_updates_a_collection_hide_nothing() -> None:
    assert watch(*collections(4, **{"train/success": 0.0})) == ["no_success"]
    solved = {"train/success": 1.0, "algo/group_return_std": 0.0, "algo/advantage_std": 0.0}
    assert watch(*collections(4, **solved)) == []


def test_the_window_survives_a_checkpoint() -> None:
    sick = {**FINE, "train/success": 0.0}
    first, second = HealthChecks(CONFIG), HealthChecks(CONFIG)
    for _ in range(WINDOW - 1):
        assert first.look(sick) == []
    second.restore(first.state())
    assert second.look(sick) == first.look(sick) == ["no_success"]
    assert all("time/collect_s" not in row for row in first.state())
    first.look({**sick, "time/collect_s": 1.0})
    assert "time/collect_s" not in first.state()[-1]


@pytest.mark.parametrize(
    ("threshold", "change", "name"),
    [
        ({"clipped_frac": 0.7}, {"algo/ratio_clipped_frac": 0.6}, "clipped"),
        ({"invalid_frac": 0.7}, {"train/invalid_frac": 0.6}, "actions_invalid"),
        ({"entropy_min": 0.005}, {"train/decision_entropy": 0.01}, "entropy_drains"),
        ({"alike_frac": 0.97}, {"train/replies_alike_frac": 0.95}, "replies_alike"),
        ({"equal_std": 1e-9}, {"algo/advantage_std": 1e-8}, "advantages_vanish"),
    ],
)
def test_thresholds_are_those_of_the_configuration(
    threshold: dict[str, float], change: dict[str, float], name: str
) -> None:
    sick = [{**FINE, **change}] * WINDOW
    assert watch(*sick) == [name]
    assert watch(*sick, config=replace(CONFIG, **threshold)) == []


def test_window_and_spike_are_those_of_the_configuration() -> None:
    short = replace(CONFIG, window=3)
    assert watch(*[{**FINE, "train/success": 0.0}] * 3, config=short) == ["no_success"]
    rows = [FINE] * WINDOW
    spike = {**FINE, "optim/grad_norm": 15.0}
    assert watch(*rows, spike) == ["grad_spike"]
    assert watch(*rows, spike, config=replace(CONFIG, grad_spike=20.0)) == []


@pytest.mark.parametrize("change", [{"train/decision_entropy": 0.0}, {"train/replies_alike_frac": 1.0}])
def test_a_policy_that_succeeds_may_be_certain(change: dict[str, float]) -> None:
    """A mean success of the window from `solved` on; one update below it is not enough to warn."""
    solved = {**FINE, **change, "train/success": 0.95}
    assert watch(*[solved] * WINDOW) == []
    assert watch(*[solved] * (WINDOW - 1), {**solved, "train/success": 0.6}) == []  # mean 0.915
    assert len(watch(*[{**solved, "train/success": 0.85}] * WINDOW)) == 1


def test_how_far_a_validation_has_fallen() -> None:
    assert fallen((0.9, 0.95, 1.2), (0.66, 0.72, 0.1), 0.25) == ""
    assert fallen((0.9, 0.95, 1.2), (0.1, 0.95, 1.2), 0.25) == "validation success 0.10, 0.90 before"
    assert fallen((0.0, 0.8, 1.2), (0.0, 0.5, 1.2), 0.25) == "validation score 0.50, 0.80 before"
    # With a curriculum the stage comes first.
    assert fallen((2, 0.9, 0.95, 1.2), (2, 0.1, 0.5, 1.2), 0.25) == "validation success 0.10, 0.90 before"
    assert fallen((), (), 0.25) == ""


def test_trouble_is_a_list_of_checks() -> None:
    with pytest.raises(UserError, match=r"health\.trouble: 'entropy' is no health check"):
        composed("health.trouble=[entropy]")
    composed(f"health.trouble={list(CHECKS)}".replace("'", ""))
