"""Warnings that come before a collapse, each by the metrics that call for it."""

from __future__ import annotations

from typing import Any

import pytest

from webshop_rl.training.health import ADVICE, WINDOW, HealthChecks

FINE = {
    "train/success": 0.5,
    "train/return_std": 0.4,
    "train/invalid_frac": 0.1,
    "algo/advantage_std": 1.0,
    "algo/advantage_max": 2.0,
    "algo/group_return_std": 0.3,
    "algo/groups_equal_frac": 0.25,
    "algo/ratio_clipped_frac": 0.1,
    "optim/grad_norm": 1.0,
    "vstar/max": 1.0,
    "vstar/std": 0.2,
}


def watch(*rows: dict[str, float]) -> list[str]:
    """What fails at the last of these updates."""
    checks = HealthChecks()
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
    ],
)
def test_each_check_fires_on_its_sign_alone(name: str, change: dict[str, float]) -> None:
    sick = {**FINE, **change}
    assert watch(*[sick] * WINDOW) == [name]
    assert watch(*[sick] * WINDOW, FINE) == []
    assert name in ADVICE
    assert HealthChecks().advice(name).startswith(f"{name}: ")


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
    first, second = HealthChecks(), HealthChecks()
    for _ in range(WINDOW - 1):
        assert first.look(sick) == []
    second.restore(first.state())
    assert second.look(sick) == first.look(sick) == ["no_success"]
    assert all("time/collect_s" not in row for row in first.state())
    first.look({**sick, "time/collect_s": 1.0})
    assert "time/collect_s" not in first.state()[-1]
