"""Two processes on gloo compute what one computes with the same global batch, save, and resume."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from webshop_rl.config import register
from webshop_rl.tracking.rows import metric_history

REPO = Path(__file__).resolve().parents[2]
RUN = (
    "import sys, pathlib; from webshop_rl.experiment import run_experiment; "
    "run_experiment(pathlib.Path(sys.argv[1]))"
)
SMALL = [
    "tracking=journal",
    "num_updates=4",
    "checkpoint.every=2",
    "evaluation.every=2",
    "evaluation.val_episodes=5",
    "evaluation.test_episodes=5",
    "model.num_layers=2",
    "model.hidden_size=64",
    "rollout.batch_size=3",
]


def prepare(folder: Path, *overrides: str) -> Path:
    register()
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        cfg = compose("config", overrides=[*SMALL, *overrides])
    folder.mkdir(parents=True)
    OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
    (folder / "signature.json").write_text(json.dumps({"signature": folder.name, "fields": {}}))
    return folder


def run(folder: Path, size: int) -> None:
    """Execute a run in `size` processes, as a launcher would start them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    workers = []
    for rank in range(size):
        env = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env |= {"WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_RANK": str(rank)}
        command = [sys.executable, "-c", RUN, str(folder)]
        workers.append(
            subprocess.Popen(command, cwd=REPO, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
    for worker in workers:
        output = worker.communicate(timeout=240)[0].decode()
        assert worker.returncode == 0, output[-3000:]


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(row.step, row.value) for row in metric_history(folder / "journal.jsonl", "optim/loss")]


@pytest.mark.parametrize("algo", ["apo_pg", "ppo"])
def test_two_processes_give_the_losses_of_one(tmp_path: Path, algo: str) -> None:
    alone = prepare(tmp_path / "a" / "runs" / "alone", f"algo={algo}", "optim.micro_batch_tokens=3000")
    pair = prepare(tmp_path / "b" / "runs" / "pair", f"algo={algo}", "optim.micro_batch_tokens=3000")
    run(alone, 1)
    run(pair, 2)
    expected, found = losses(alone), losses(pair)
    assert [step for step, _ in found] == [step for step, _ in expected] == [1, 2, 3, 4]
    assert [value for _, value in found] == pytest.approx([value for _, value in expected], abs=1e-5)
    # One writer: the run's record is as long as that of one process.
    assert len((pair / "updates.log").read_text().split()) == 4
    assert json.loads((pair / "result.json").read_text())["arms"].keys() >= {"test", "untrained"}
