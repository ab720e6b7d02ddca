"""One run from the command line to what a person finds afterwards."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.shop5_parts import SMALL, curve, run_here
from tests.support.sweep_command import QUICK, checkout
from webshop_rl.tracking import sync


def launch(root: Path, *overrides: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, str(checkout() / "launch.py"), *QUICK, f"root={root}", *overrides],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "200"},
        cwd=root.parent,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_run_leaves_everything_in_its_folder_and_in_mlflow(tmp_path: Path) -> None:
    root = tmp_path / "root"
    code, output, error = launch(root)
    assert code == 0, error
    for policy in ("trained policy", "untrained policy", "random admissible", "first result", "rule"):
        assert policy in output
    assert "these are training goals" in output
    (folder,) = (root / "runs").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["num_updates"] == 2
    assert set(result["policies"]) == {
        "test",
        "untrained",
        "baseline/random",
        "baseline/first",
        "baseline/rule",
        "baseline/backtrack",
    }
    assert result["policies"]["baseline/rule"]["success"] == 1.0
    assert sorted(p.name for p in (folder / "episodes").iterdir()) == [
        "baseline_backtrack.jsonl", "baseline_first.jsonl", "baseline_random.jsonl", "baseline_rule.jsonl",
        "test.jsonl", "untrained.jsonl",
    ]  # fmt: skip
    # Twelve episodes of five goals: a row a goal.
    assert len((folder / "episodes" / "test.jsonl").read_text().splitlines()) == 12
    table = json.loads((folder / "tables" / "test.json").read_text())
    assert len(table["data"]) == 5
    assert table["columns"][:3] == ["goal", "score", "success"]
    kept = [p.name for p in (folder / "checkpoints").iterdir()]
    assert f"update_{result['best_update']:06d}" in kept
    assert "update_000002" in kept
    # A longer run may go on from the last update, from no other.
    optimisers = [p.parent.name for p in (folder / "checkpoints").glob("*/optimiser.pt")]
    assert optimisers == ["update_000002"]

    # On a busy machine MLflow has not taken everything by the time that the run has waited for it.
    assert sync.main([str(root)]) == 0
    database = sqlite3.connect(root / "mlflow.db")
    ((run, status),) = database.execute("select run_uuid, status from runs").fetchall()
    params = dict(database.execute("select key, value from params where run_uuid = ?", [run]).fetchall())
    # MLflow's pages show metrics in this order.
    logged = [key for (key,) in database.execute("select key from latest_metrics where run_uuid = ?", [run])]
    tags = dict(database.execute("select key, value from tags where run_uuid = ?", [run]).fetchall())
    steps: dict[str, set[int]] = {}
    for key, step in database.execute("select key, step from metrics where run_uuid = ?", [run]):
        steps.setdefault(key, set()).add(step)
    goals = database.execute("select name, dataset_profile from datasets").fetchall()
    ((checkpoint,),) = database.execute(
        "select tag_value from logged_model_tags where tag_key = 'checkpoint'"
    ).fetchall()
    database.close()
    assert status == "FINISHED"
    shown = '{"num_goals": 5, "num_products": 5}'
    assert sorted(goals) == [(f"shop5 {split}", shown) for split in ("test", "train", "val")]
    assert checkpoint == str(folder / "checkpoints" / f"update_{result['best_update']:06d}")
    assert (params["lr"], params["algo.name"], params["seed"]) == ("5e-06", "apo_pg", "0")
    assert {"signature", "code_digest", "split_digest", "data_digest", "seed"} <= tags.keys()
    assert tags["signature"] == folder.name
    assert "root" not in params
    assert list(params)[:3] == ["algo.name", "model.name", "env.name"]
    assert [key for key in params if key.endswith("_target_")] == []
    places = [
        logged.index(key) for key in ("test/score", "test/success", "untrained/score", "baseline/rule/score")
    ]
    assert places == sorted(places)
    assert "" not in tags.values()
    assert (steps["test/success"], steps["untrained/success"], steps["val/success"]) == ({2}, {0}, {0, 1, 2})
    assert steps["optim/loss"] == {1, 2}


def test_a_run_that_fails_says_so_and_is_retried_only_when_asked(tmp_path: Path) -> None:
    root = tmp_path / "root"
    # No page fits this context: found out when the first episodes are played.
    overrides = (
        "tracking=journal",
        "model.context_tokens=64",
        "rollout.decoding=free",
        "rollout.max_reply_tokens=63",
    )
    code, _, error = launch(root, *overrides)
    assert code == 1
    assert "the first page does not fit the context" in error
    (folder,) = (root / "runs").iterdir()
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"
    assert "first page" in (folder / "error.txt").read_text()
    code, _, error = launch(root, *overrides)
    assert code == 2
    assert "failed before" in error
    assert "retry=true" in error


def test_a_budget_in_episodes_is_the_same_for_every_algorithm(tmp_path: Path) -> None:
    """Two collections of eight episodes: two updates of apo_pg, eight of ppo with its four epochs."""
    options = ("num_episodes=16", "num_updates=null", "algo.goals_per_update=2", "algo.group_size=4")
    played = {}
    for algo in ("apo_pg", "ppo"):
        score, folder = run_here(
            tmp_path, algo, *SMALL, *options, f"algo={algo}", "evaluation.test_episodes=5"
        )
        episodes = curve(folder, "train/episodes")
        played[algo] = (max(episodes), episodes[max(episodes)])
        assert score >= 0
        assert json.loads((folder / "result.json").read_text())["num_episodes"] == 16
        assert max(curve(folder, "val/success")) == max(episodes)
    assert played == {"apo_pg": (2, 16), "ppo": (8, 16)}
    # Eight reference episodes a goal, two goals a collection, and the second may meet a goal again.
    assert curve(tmp_path / "runs" / "apo_pg", "vstar/episodes")[1] == 16
    assert curve(tmp_path / "runs" / "ppo", "vstar/episodes")[8] == 0


def test_goals_that_teach_nothing_by_their_reference_returns_are_not_trained_on(tmp_path: Path) -> None:
    common = (
        *SMALL, "num_updates=2", "seed=1", "evaluation.test_episodes=5", "evaluation.val_episodes=5",
        "algo.group_size=2", "vstar.estimator=mean",
    )  # fmt: skip
    run_here(tmp_path, "all", *common)
    returns: dict[str, list[float]] = {}
    for path in (tmp_path / "vstar").glob("*/returns/*.jsonl"):
        for row in map(json.loads, path.read_text().splitlines()):
            returns.setdefault(row["goal"], []).append(row["return"])
    low, high, *_ = sorted({round(float(np.std(values)), 9) for values in returns.values()})
    left = [float(np.mean(values)) for values in returns.values() if np.std(values) > (low + high) / 2]
    assert 0 < len(left) < 5
    some = (f"algo.goals_per_update={2 * len(left)}", f"vstar.min_spread={(low + high) / 2}")
    _, folder = run_here(tmp_path, "some", *common, *some)
    # In a collection of twice as many as are left, each is there twice.
    assert curve(folder, "vstar/mean") == pytest.approx(dict.fromkeys((1, 2), np.mean(left)))
    # All five were looked at; the other run had played them.
    assert curve(folder, "vstar/episodes") == {1: 40, 2: 40}
    assert curve(folder, "system/vstar_episodes_played") == {1: 0, 2: 0}


def test_training_collections_are_renamed_and_nothing_else_is(tmp_path: Path) -> None:
    """With a step too small to matter, the policy that is evaluated is the same with and without."""
    common = (
        *SMALL,
        "num_updates=1",
        "lr=1e-15",
        "seed=3",
        "evaluation.test_episodes=20",
        "env.distractors=2",
    )
    folders = {p: run_here(tmp_path, f"rename{p}", *common, f"rollout.rename={p}")[1] for p in (0, 1)}
    for key in ("test/return_mean", "vstar/mean", "val/return_mean"):
        assert curve(folders[0], key) == curve(folders[1], key) != {}
    assert curve(folders[0], "train/tokens") != curve(folders[1], "train/tokens")
