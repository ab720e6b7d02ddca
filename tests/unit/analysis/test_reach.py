"""How soon an arm reaches a success: read off its curves, and as a ratio to another arm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import pandas as pd
import pytest
import yaml

from analysis.arms import arms_of
from analysis.reach import Reach, reach, table
from tests.support.analysis_runs import make_run
from tests.support.paths import CONF

RUNS = [make_run(algo, seed, score=1.0) for algo in ("grpo", "ppo") for seed in (0, 1)]
GRPO, PPO = arms_of(RUNS)


def curve(algo: str, seed: int, success: Sequence[float], *, vstar: float = 0.0) -> list[tuple[object, ...]]:
    """A run validated at updates 0, 1, 2, ...; each update is of 32 episodes and takes 6 minutes."""
    (run,) = (r for r in RUNS if r.params["algo.name"] == algo and r.seed == str(seed))
    rows: list[tuple[object, ...]] = []
    for step, value in enumerate(success):
        rows.append((run.run_id, "val/success", step, value))
        if step:
            rows.append((run.run_id, "train/episodes", step, 32.0 * step))
            rows.append((run.run_id, "vstar/episodes", step, vstar))
            rows.append((run.run_id, "time/train_s", step, 360.0 * step))
    return rows


def frame(*rows: list[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame([*chain(*rows)], columns=["run_id", "metric", "step", "value"])


def found() -> tuple[Reach, Reach]:
    curves = frame(
        curve("ppo", 0, [0.0, 0.95, 1.0, 0.2]),  # reached after 1 update, and lost
        curve("ppo", 1, [0.0, 0.5, 0.9, 1.0]),  # after 3
        curve("grpo", 0, [0.0, 0.2, 0.94, 0.95], vstar=40.0),  # after 3
        curve("grpo", 1, [0.0, 0.9, 0.8, 0.9], vstar=40.0),  # never
    )
    return reach(PPO, curves, 0.95), reach(GRPO, curves, 0.95)


def test_what_a_run_took_is_read_at_its_first_validation_at_the_level() -> None:
    ppo, grpo = found()
    assert sorted(ppo.taken["episodes"]) == [32, 96]
    assert sorted(ppo.taken["minutes"]) == pytest.approx([6, 18])
    assert grpo.taken["episodes"] == [96]
    assert grpo.taken["with V*"] == [96 + 40]


def test_a_level_that_was_lost_is_reached_and_not_kept() -> None:
    ppo, grpo = found()
    assert (ppo.num_runs, ppo.num_reached, ppo.num_kept) == (2, 2, 1)
    assert (grpo.num_runs, grpo.num_reached, grpo.num_kept) == (2, 1, 1)


def test_a_ratio_is_of_means() -> None:
    ppo, grpo = found()
    row = table([ppo, grpo], ppo, 0.95).splitlines()[-1]
    # 96 / ((32 + 96) / 2) = 1.5 for episodes and minutes, 136 / 64 = 2.125 with V*; one run has no interval.
    assert row == "| algo=grpo | 1 of 2 | 1 of 2 | 96 | 1.50 | 136 | 2.12 | 18 | 1.50 |"


def test_an_arm_that_never_gets_there_has_no_ratio() -> None:
    curves = frame(curve("ppo", 0, [0.0, 1.0]), curve("grpo", 0, [0.0, 0.1]))
    ppo, grpo = reach(PPO, curves, 0.95), reach(GRPO, curves, 0.95)
    assert table([grpo], ppo, 0.95).splitlines()[-1].startswith("| algo=grpo | 0 of 2 | 0 of 2 | - | - |")


def test_every_method_of_the_algo_group_is_in_the_study_or_said_not_to_be() -> None:
    path = CONF / "experiment" / "shop5_all.yaml"
    params = yaml.safe_load(path.read_text())["hydra"]["sweeper"]["params"]
    left_out = {"bc", "apo_square"}
    assert {*params["algo"].split(",")} | left_out == {file.stem for file in (CONF / "algo").glob("*.yaml")}
    assert all(f"{name} " in path.read_text() or f"{name}," in path.read_text() for name in left_out)
