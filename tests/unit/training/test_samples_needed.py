"""Which reference samples a run will look at, as told before it begins, and as it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.training_attempts import Attempt, run_config
from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.training.checkpoint import find_checkpoints
from webshop_rl.training.vstar import samples_needed

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")
GOALS = Shop5().goals("train")


@pytest.mark.parametrize(
    "settings",
    [
        {"num_updates": 2, "algo__goals_per_update": 2},
        {"num_updates": 1, "algo__goals_per_update": 3},
        {"num_updates": 9, "algo__goals_per_update": 1, "vstar__adaptive": True},
        {"num_updates": 2, "algo__goals_per_update": 2, "goals_by": "product", "seed": 5},
    ],
)
def test_they_are_those_that_training_looks_at(tmp_path: Path, settings: dict[str, Any]) -> None:
    Attempt(tmp_path, vstar=True, **settings).run()
    state = json.loads((find_checkpoints(tmp_path / "checkpoints")[-1].path / "state.json").read_text())
    assert samples_needed(run_config(**settings), GOALS) == state["vstar_samples"] != {}


def test_a_pass_is_a_collection_however_many_updates_it_serves() -> None:
    config = run_config(num_updates=8, algo__num_epochs=4, algo__goals_per_update=2)
    assert len(samples_needed(config, GOALS)) == 4


@pytest.mark.parametrize("change", [{"collection__equal_groups": "resample"}, {"vstar__min_spread": 0.1}])
def test_where_it_cannot_be_told_all_are_needed(change: dict[str, Any]) -> None:
    config = run_config(num_updates=1, algo__goals_per_update=1, **change)
    assert samples_needed(config, GOALS) == {goal.id: 8 for goal in GOALS}
