"""A run that is killed, torn or stopped and started again computes what it would have computed in peace."""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.sweep_command import checkout
from tests.support.training_attempts import history
from webshop_rl.tracking.rows import read_rows
from webshop_rl.training.checkpoint import find_checkpoints

NUM_UPDATES, EVERY = 12, 4
SMALL = (
    f"num_updates={NUM_UPDATES}",
    f"checkpoint.every={EVERY}",
    "hardware.threads=null",
    "seed=1",
    "model.hidden_size=32",
    "model.num_layers=2",
    "algo.goals_per_update=2",
    "algo.group_size=4",
    "env.max_steps=5",
    "evaluation.every=5",
    "evaluation.val_episodes=5",
    "evaluation.test_episodes=10",
)


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout()), "COLUMNS": "160"}


def only_run(root: Path) -> Path:
    (folder,) = (root / "runs").iterdir()
    return folder


def episodes(root: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in (only_run(root) / "episodes").glob("*.jsonl")}


def updates_executed(root: Path) -> int:
    return (only_run(root) / "updates.log").read_text().count("\n")


def assert_same_run(disturbed: Path, calm: Path) -> None:
    """Whole histories and every recorded episode, to the last bit."""
    expected, found = history(only_run(calm)), history(only_run(disturbed))
    assert found.keys() == expected.keys()
    assert {k: (v, found[k]) for k, v in expected.items() if found[k] != v} == {}
    assert episodes(disturbed) == episodes(calm)
    result = json.loads((only_run(disturbed) / "result.json").read_text())
    assert result["resume_mismatches"] == 0
    assert result["policies"] == json.loads((only_run(calm) / "result.json").read_text())["policies"]
    assert not list((only_run(disturbed) / "checkpoints").glob(".partial*"))
    *earlier, last = find_checkpoints(only_run(disturbed) / "checkpoints")
    assert (last.path / "optimiser.pt").exists()
    assert not any((checkpoint.path / "optimiser.pt").exists() for checkpoint in earlier)


@functools.cache
def _drills(calm: bool) -> subprocess.Popen[str]:
    """One process for all calm runs, one for all others: hashes of strings differ between the two.

    Each has loaded torch once, and ends with its stdin.
    """
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("training_drill.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip


def drill(root: Path, plan: Sequence[dict[str, Any] | None], *overrides: str) -> list[int]:
    """Exit statuses of the attempts."""
    process = _drills(calm=not any(plan))
    assert process.stdin is not None
    assert process.stdout is not None
    asked = {"root": str(root), "plan": plan, "overrides": [*SMALL, *overrides]}
    print(json.dumps(asked), file=process.stdin, flush=True)
    ends: list[int] = json.loads(process.stdout.readline())
    return ends


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("calm") / "root"
    assert drill(root, [None]) == [0]
    assert updates_executed(root) == NUM_UPDATES
    return root


KILLED = -signal.SIGKILL
CRASHES: dict[str, list[dict[str, Any]]] = {
    # Six flushes a checkpoint: weights, optimiser, state, COMPLETE, the folder, the rename.
    "inside checkpoint writes": [{"where": "checkpoint", "count": n} for n in (1, 9, 4, 11)],
    "inside journal flushes": [
        {"where": "journal", "count": n, "frac": f} for n, f in ((3, 0.5), (5, 0.0), (4, 0.99), (6, 1.0))
    ],
    "at 20, 50 and 80 %": [{"where": "updates", "count": n} for n in (3, 6, 10)],
    "before the result": [{"where": "result"}],
}


@pytest.mark.parametrize("crashes", CRASHES.values(), ids=CRASHES)
def test_killed_and_resumed_is_the_same_run(
    tmp_path: Path, calm: Path, crashes: list[dict[str, Any]]
) -> None:
    root = tmp_path / "root"
    ends = drill(root, [*crashes, None])
    assert ends == [KILLED] * len(crashes) + [0], root.with_suffix(".log").read_text()
    assert_same_run(root, calm)
    assert updates_executed(root) <= NUM_UPDATES + len(crashes) * EVERY


@pytest.mark.parametrize(
    "overrides",
    [
        ("algo=ppo", "algo.num_epochs=2"),
        (
            "algo=bc", "algo.student_from=0", "algo.student_until=0.5", "rollout.rename=0.5",
            "goals_by=product",
        ),
        (
            "algo=apo_sft", "rollout.decoding=free", "rollout.max_reply_tokens=8", "rollout.think=true",
            "rollout.max_think_tokens=4", "rollout.top_p=0.9", "model.lora.enabled=true",
            "vstar.adaptive=true", "optim.schedule=cosine",
        ),
        ("rollout.rename=0.5", "model.pointer=true", "model.smear=true"),
        ("algo=ppo", "rollout.history=window:2", "rollout.queries=window", "view=compact"),
        ("algo=grpo", "collection.replay_best=true", "rollout.rename=0.5"),
    ],
    ids=["ppo", "bc", "apo_sft, free, LoRA", "renamed, pointer", "ppo, window, compact", "replayed, renamed"],
)  # fmt: skip
def test_other_algorithms_resume_exactly_too(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    calm, root = tmp_path / "calm", tmp_path / "root"
    assert drill(calm, [None], *overrides) == [0]
    assert drill(root, [{"where": "updates", "count": 6}, None], *overrides) == [KILLED, 0]
    assert_same_run(root, calm)


def test_a_curriculum_resumes_exactly(tmp_path: Path) -> None:
    """With rules so loose that it goes up and down."""
    stages = [
        {"name": "five", "mock_products": 5, "real_products": 0, "split": "instruction"},
        {"name": "fifteen", "mock_products": 15, "real_products": 0},
        {"name": "thirty", "mock_products": 30, "real_products": 0},
    ]
    written = json.dumps(stages).replace('"', "")
    overrides = (
        "curriculum=stages6", f"curriculum.stages={written}", "curriculum.min_collections=1",
        "curriculum.promote_at=0", "curriculum.demote_below=0.6", "curriculum.window=16",
        "curriculum.replay=0.5", "algo.goals_per_update=4", "env.data_dir=null",
    )  # fmt: skip
    calm, root = tmp_path / "calm", tmp_path / "root"
    assert drill(calm, [None], *overrides) == [0]
    moves = [
        value for (name, _), value in sorted(history(only_run(calm)).items()) if name == "curriculum/moves"
    ]
    assert moves[-1] >= 3
    stage = {value for (name, _), value in history(only_run(calm)).items() if name == "curriculum/stage"}
    assert len(stage) >= 2
    crashes = [{"where": "updates", "count": 6}, {"where": "checkpoint", "count": 5}]
    assert drill(root, [*crashes, None], *overrides) == [KILLED, KILLED, 0]
    assert_same_run(root, calm)


def test_a_run_that_goes_on_from_its_best_checkpoint_resumes_exactly(tmp_path: Path) -> None:
    """With a check so strict that it fails every third update."""
    overrides = (
        "health.on_trouble=restore_best", "health.trouble=[replies_alike]", "health.alike_frac=0",
        "health.window=3", "health.solved=1",
    )  # fmt: skip
    calm, root = tmp_path / "calm", tmp_path / "root"
    assert drill(calm, [None], *overrides) == [0]
    restored = [step for name, step in history(only_run(calm)) if name == "health/restored"]
    assert len(restored) >= 2
    crashes = [{"where": "updates", "count": 4}, {"where": "checkpoint", "count": 8}]
    assert drill(root, [*crashes, None], *overrides) == [KILLED, KILLED, 0]
    assert_same_run(root, calm)
    for each in (calm, root):
        run = only_run(each)
        tags = {}
        for row in read_rows(run / "journal.jsonl"):
            tags |= row.get("tags", {})
        assert json.loads((run / "result.json").read_text())["restores"] == len(restored)
        assert int(tags["restores"]) == len(restored)


def test_a_reference_that_is_reset_resumes_exactly(tmp_path: Path) -> None:
    """And goes back with the policy to the best checkpoint's."""
    overrides = (
        "reference.reset_every=4", "algo.kl_coef=0.1", "health.on_trouble=restore_best",
        "health.trouble=[replies_alike]", "health.alike_frac=0", "health.window=7", "health.solved=1",
    )  # fmt: skip
    calm, root = tmp_path / "calm", tmp_path / "root"
    assert drill(calm, [None], *overrides) == [0]
    assert {name for name, _ in history(only_run(calm))} >= {"health/restored", "vstar/mean"}
    keys = [json.loads(path.read_text()) for path in (calm / "vstar").glob("*/key.json")]
    assert len(keys) >= 3
    assert len({key.get("reference") for key in keys}) == len(keys)
    assert None in {key.get("reference") for key in keys}
    crashes = [{"where": "updates", "count": 5}, {"where": "updates", "count": 10}]
    assert drill(root, [*crashes, None], *overrides) == [KILLED, KILLED, 0]
    assert_same_run(root, calm)
    # Only the last update keeps it, beside its optimiser, for a longer run that goes on from there.
    kept = only_run(root).glob("checkpoints/*/reference.safetensors")
    assert [path.parent.name for path in kept] == ["update_000012"]


def test_resumed_with_other_threads_it_computes_with_those_it_began_with(tmp_path: Path, calm: Path) -> None:
    root = tmp_path / "root"
    kill = {"where": "updates", "count": 5}
    # What a run of a sweep is given depends on how many run beside it.
    assert drill(root, [kill | {"threads": 1}, {"where": "nowhere", "threads": 2}]) == [KILLED, 0]
    assert_same_run(root, calm)


def start(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(checkout() / "launch.py"), *SMALL, "hardware.threads=1", f"root={root}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), cwd=root.parent,
    )  # fmt: skip


def wait_until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.001)


def lines(root: Path) -> int:
    return sum(log.read_text().count("\n") for log in root.glob("runs/*/updates.log"))


def test_the_command_itself_killed_and_signalled(tmp_path: Path, calm: Path) -> None:
    """launch.py with its tracker: kill -9, kill -9 at a checkpoint, SIGTERM, SIGUSR2, then to the end."""
    root = tmp_path / "root"
    kills = 0
    for signum, condition in (
        (signal.SIGKILL, lambda: lines(root) >= 2),
        (signal.SIGKILL, lambda: bool(list(root.glob("runs/*/checkpoints/.partial_*")))),
        (signal.SIGTERM, lambda: lines(root) >= 7),
        (signal.SIGUSR2, lambda: lines(root) >= 10),
    ):
        process = start(root)
        before = lines(root)
        wait_until(process, condition)
        process.send_signal(signum)
        output, _ = process.communicate(timeout=60)
        kills += signum == signal.SIGKILL
        if signum == signal.SIGKILL:
            assert process.returncode == KILLED
            continue
        assert process.returncode == 128 + signum, output
        assert "the same command resumes" in output
        assert json.loads((only_run(root) / "status.json").read_text())["state"] == "interrupted"
        # Saved where it stood: nothing is computed twice.
        last = (only_run(root) / "updates.log").read_text().split()[-1]
        assert find_checkpoints(only_run(root) / "checkpoints")[-1].update == int(last)
        assert lines(root) > before
    process = start(root)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "resuming at update" in output
    assert_same_run(root, calm)
    assert updates_executed(root) <= NUM_UPDATES + kills * EVERY

    # Everything is in MLflow, once.
    database = sqlite3.connect(root / "mlflow.db")
    rows = database.execute("select run_uuid, key, step, value, is_nan from metrics").fetchall()
    database.close()
    points = [(run, key, step) for run, key, step, *_ in rows]
    assert len(points) == len(set(points))
    assert len({run for run, *_ in points}) == 1
    recorded = {(key, step): value for _, key, step, value, is_nan in rows if not is_nan}
    expected = {k: v for k, v in history(only_run(root)).items() if v == v and abs(v) != float("inf")}
    assert {k: recorded.get(k) for k in expected} == expected

    # And the same command again has nothing to do.
    process = start(root)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "is finished" in output
    assert "trained policy" in output
    assert updates_executed(root) <= NUM_UPDATES + kills * EVERY


def test_attempts_are_told_apart_in_the_journal(calm: Path) -> None:
    states = [row["status"] for row in read_rows(only_run(calm) / "journal.jsonl") if row["kind"] == "state"]
    assert states == ["RUNNING", "FINISHED"]
    for one, other in itertools.pairwise(read_rows(only_run(calm) / "journal.jsonl")):
        assert one["ts_ms"] <= other["ts_ms"]
