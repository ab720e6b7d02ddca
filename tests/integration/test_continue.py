"""A run of more updates goes on from a finished one, and is the run it would have been."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.support.shop5_parts import SMALL, composed
from tests.support.training_attempts import history
from webshop_rl.launching.single import run_single
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.weights import WEIGHTS
from webshop_rl.tracking.rows import read_rows

KEYS = (
    *SMALL, "algo.goals_per_update=2", "algo.group_size=4", "evaluation.every=2", "checkpoint.every=2",
    "evaluation.val_episodes=5", "evaluation.test_episodes=5", "optim.warmup_updates=3", "lr=1e-4",
    "evaluation.temperature=1", "vstar.num_samples=2",
)  # fmt: skip


def _train(root: Path, num_updates: int) -> RunFolder:
    """The run of so many updates, as the command makes it."""
    overrides = [*KEYS, f"root={root}", f"num_updates={num_updates}"]
    before = {run.name for run in Root(root).all_runs()}
    run_single(composed(*overrides), overrides)
    (name,) = {run.name for run in Root(root).all_runs()} - before
    return Root(root).run(name)


def test_four_updates_and_four_more_are_eight(tmp_path: Path) -> None:
    short = _train(tmp_path / "parts", 4)
    result = short.result.read_text()
    continued, whole = _train(tmp_path / "parts", 8), _train(tmp_path / "whole", 8)
    assert continued.name == whole.name
    # Half of the updates were executed, and all are on record.
    assert continued.updates_log.read_text().count("\n") == 4
    assert whole.updates_log.read_text().count("\n") == 8
    assert history(continued.path) == history(whole.path)
    for file in sorted(whole.path.glob("episodes/*.jsonl")):
        assert (continued.path / "episodes" / file.name).read_text() == file.read_text()
    ours, theirs = (load_file(run.checkpoints / "update_000008" / WEIGHTS) for run in (continued, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert json.loads(continued.result.read_text())["resume_mismatches"] == 0
    tags = {key: value for row in read_rows(continued.journal) for key, value in row.get("tags", {}).items()}
    assert tags["continues"] == short.name
    # The shorter one is as it was, and can be gone on from again.
    assert short.result.read_text() == result
    assert (short.checkpoints / "update_000004" / "optimiser.pt").is_file()
