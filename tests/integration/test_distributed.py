"""Two processes on gloo compute what one computes with the same global batch, save, resume, stop."""

from __future__ import annotations

import functools
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tests.support.paths import CONF
from tests.support.sharded_cases import CASES, find_differences
from tests.support.tracking import last_values, metric_history
from tests.support.worker_processes import Worker, ended, start
from webshop_rl.config import register
from webshop_rl.experiment import run_experiment
from webshop_rl.tracking.rows import read_rows
from webshop_rl.training.checkpoint import find_checkpoints

SMALL = [
    "tracking=journal",
    "num_updates=8",
    "checkpoint.every=2",
    "evaluation.every=4",
    "evaluation.val_episodes=5",
    "evaluation.test_episodes=5",
    "model.num_layers=2",
    "model.hidden_size=32",
    "algo.goals_per_update=2",
    "algo.group_size=5",
    "rollout.batch_size=3",
    "optim.micro_batch_tokens=600",
]


def prepare(folder: Path, *overrides: str) -> Path:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[*SMALL, *overrides])
    folder.mkdir(parents=True)
    OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
    (folder / "signature.json").write_text(json.dumps({"signature": folder.name, "fields": {}}))
    return folder


def run(folder: Path, size: int) -> None:
    for code, output in ended(start(size, run_experiment, folder)):
        assert code == 0, output[-3000:]


def with_strategy(folder: Path, strategy: str) -> Path:
    """Say how the next attempt of a run shares the model out."""
    cfg = OmegaConf.load(folder / "config.yaml")
    cfg.hardware.strategy = strategy
    OmegaConf.save(cfg, folder / "config.yaml")
    return folder


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(row.step, row.value) for row in metric_history(folder / "journal.jsonl", "optim/loss")]


def updates(folder: Path) -> list[int]:
    log = folder / "updates.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def assert_same_run(found: Path, expected: Path) -> None:
    """The same losses to 1e-5 and the same final numbers, each recorded once."""
    one, other = losses(expected), losses(found)
    assert [step for step, _ in other] == [step for step, _ in one] == list(range(1, 9))
    assert [value for _, value in other] == pytest.approx([value for _, value in one], abs=1e-5)
    ends = [last_values(folder / "journal.jsonl") for folder in (expected, found)]
    names = [name for name in ends[0] if name.startswith(("test/", "untrained/", "val/"))]
    assert len(names) > 10
    for name in names:
        assert ends[1][name].value == pytest.approx(ends[0][name].value), name
    rows = [
        r
        for r in read_rows(found / "journal.jsonl")
        if r["kind"] == "metrics" and "optim/loss" in r["metrics"]
    ]
    assert len(rows) == 8


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of an algorithm in one process."""
    root = tmp_path_factory.mktemp("alone")

    @functools.cache
    def of(algo: str) -> Path:
        folder = prepare(root / algo / "runs" / "alone", f"algo={algo}")
        run(folder, 1)
        return folder

    return of


# FSDP with apo_pg is below: in the run that is moved, and case by case.
@pytest.mark.parametrize(("strategy", "algo"), [("ddp", "apo_pg"), ("ddp", "ppo"), ("fsdp", "ppo")])
def test_two_processes_give_the_losses_of_one(
    tmp_path: Path, alone: Callable[[str], Path], strategy: str, algo: str
) -> None:
    pair = prepare(tmp_path / "runs" / "pair", f"algo={algo}", f"hardware.strategy={strategy}")
    run(pair, 2)
    assert_same_run(pair, alone(algo))
    # One writer: the run's record is as long as that of one process.
    assert updates(pair) == list(range(1, 9))


def test_a_stop_and_a_kill_of_one_process_and_another_strategy_each_time(
    tmp_path: Path, alone: Callable[[str], Path]
) -> None:
    folder = prepare(tmp_path / "runs" / "moved", "algo=apo_pg", "hardware.strategy=fsdp")
    # The signal reaches the second process alone: both stop at one point, and save what they have.
    workers = after_updates(folder, 1, start(2, run_experiment, folder))
    os.kill(workers[1].process.pid or 0, signal.SIGUSR2)
    for code, output in ended(workers):
        assert code == 1, output[-3000:]
        assert "Preempted: stopped by SIGUSR2" in output
    saved = find_checkpoints(folder / "checkpoints")[-1].update
    assert saved == updates(folder)[-1]
    assert saved < 6, "too fast for this test"
    # The death of one ends the other; no more than the checkpoint interval is lost.
    workers = after_updates(with_strategy(folder, "ddp"), saved + 1, start(2, run_experiment, folder))
    workers[1].process.kill()
    (code, output), _ = ended(workers)
    assert code not in (0, None), output[-3000:]
    reached, saved = updates(folder)[-1], find_checkpoints(folder / "checkpoints")[-1].update
    assert reached - 2 <= saved <= reached
    # What was begun by two is finished by one, and is the run of one.
    run(folder, 1)
    assert updates(folder) == [*range(1, reached + 1), *range(saved + 1, 9)]
    assert_same_run(folder, alone("apo_pg"))


def after_updates(folder: Path, number: int, workers: list[Worker]) -> list[Worker]:
    deadline = time.monotonic() + 180
    while not updates(folder) or updates(folder)[-1] < number:
        assert time.monotonic() < deadline, ended(workers)
        time.sleep(0.005)
    return workers


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """What sharded_cases.py found."""
    folder = tmp_path_factory.mktemp("cases")
    for code, output in ended(start(2, find_differences, folder)):
        assert code == 0, output[-5000:]
    found: dict[str, dict[str, float]] = json.loads((folder / "found.json").read_text())
    return found


@pytest.mark.parametrize("case", list(CASES))
def test_learning_on_shards_is_learning(cases: dict[str, dict[str, float]], case: str) -> None:
    found = cases[case]
    # bfloat16: a sum of two processes' gradients may be rounded another way than one's.
    largest = 1e-3 if "narrow" in case else 1e-5
    assert found["moved"] > 1e-3
    assert found["loss"] < largest
    assert found["metrics"] < 10 * largest
    assert found["weights"] < largest
    assert found["state"] < largest
    assert found["crossed"] < 10 * largest  # resumed from a checkpoint of the other kind
    assert found["resumed"] == 0  # resumed from one's own, bit for bit
    assert found["held_frac"] == pytest.approx(0.5, abs=0.01)  # of the weights, by each process


def test_processes_skip_a_step_together(cases: dict[str, dict[str, float]]) -> None:
    assert cases["skip"] == {"skipped": 2.0, "moved": 0.0, "skipped_later": 0.0}
