"""What a sweep leaves in MLflow: one parent, its children, their states; and what status makes good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.support.sweep_command import Command, read
from webshop_rl.tracking.database import create_database

MLFLOW = ("tracking=mlflow", "tracking.sync_every_s=0.5")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One root, and so one database, for all tests here; each has a sweep and seeds of its own."""
    return tmp_path_factory.mktemp("mlflow") / "runs"


def _client(root: Path) -> MlflowClient:
    # MLflow's own first look would build the file in place, and so race with a run that still builds it.
    create_database(root / "mlflow.db")
    return MlflowClient(f"sqlite:///{root}/mlflow.db")


def _sweep(root: Path, name: str) -> tuple[Any, dict[str, Any]]:
    """(parent, children by seed) of a sweep."""
    client = _client(root)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (parent,) = (r for r in found if r.info.run_name == name)
    own = [r for r in found if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, {r.data.params["seed"]: r for r in own}


def test_parent_and_children_tell_how_the_runs_ended(root: Path) -> None:
    command = Command(root, s2="raise", s3="kill_always")
    code, output = command.run("-m", "seed=1,2,3", "sweep.name=ends", *MLFLOW)
    assert code == 1, output
    parent, children = _sweep(root, "ends")
    states = {seed: run.info.status for seed, run in children.items()}
    assert states == {"1": "FINISHED", "2": "FAILED", "3": "FAILED"}
    assert children["2"].data.tags["error"] == "ValueError: the shop is closed"
    assert children["3"].data.tags["error"] == "killed by SIGKILL (out of memory?), 3 attempts in a row"
    assert parent.info.status == "FAILED"
    assert parent.info.start_time <= min(run.info.start_time for run in children.values())
    counts = {key: value for key, value in parent.data.tags.items() if key.startswith("runs.")}
    assert counts == {
        "runs.planned": "3",
        "runs.finished": "1",
        "runs.failed": "2",
        "runs.interrupted": "0",
    }
    tags = parent.data.tags
    assert tags["command"].endswith("sweep.name=ends tracking=mlflow tracking.sync_every_s=0.5")
    assert (tags["mlflow.source.name"], bool(tags["mlflow.user"])) == ("launch.py", True)
    assert "3 runs: 2 failed, 1 finished" in tags["mlflow.note.content"]
    assert "seed=2 | failed | - | -" in tags["mlflow.note.content"]
    files = [file.path for file in _client(root).list_artifacts(parent.info.run_id)]
    assert files == ["manifest.json"]
    # The same command, which executes nothing, and status leave the sweep's duration as it was.
    assert command.run("-m", "seed=1,2,3", "sweep.name=ends", *MLFLOW)[0] == 1
    assert _sweep(root, "ends")[0].info.end_time == parent.info.end_time
    fields = read(command.runs()[1] / "signature.json")["fields"]
    assert children["1"].data.params == {key: str(value) for key, value in fields.items()}

    code, output = Command(root).run("-m", "seed=1,2,3", "sweep.name=ends", "retry=true", *MLFLOW)
    assert code == 0, output
    again, children_again = _sweep(root, "ends")
    assert (again.info.run_id, again.info.status) == (parent.info.run_id, "FINISHED")
    ids = {seed: run.info.run_id for seed, run in children.items()}
    assert {seed: run.info.run_id for seed, run in children_again.items()} == ids
    assert {run.info.status for run in children_again.values()} == {"FINISHED"}
    history = _client(root).get_metric_history(ids["3"], "train/success")
    assert [point.step for point in history] == [1, 2, 3, 4]


def test_a_run_of_another_sweep_is_tagged_and_stays_its_child(root: Path) -> None:
    command = Command(root)
    assert command.run("-m", "seed=11", "sweep.name=first", *MLFLOW)[0] == 0
    code, output = command.run("-m", "seed=11", "sweep.name=second", *MLFLOW)
    assert code == 0, output
    _, children = _sweep(root, "first")
    assert children["11"].data.tags["sweep.second"] == "shared"
    parent, none = _sweep(root, "second")
    assert (parent.info.status, none) == ("FINISHED", {})


def test_status_brings_a_late_tracker_up_to_date(root: Path) -> None:
    command = Command(root, s22="raise")
    dead = ("tracking=mlflow", "tracking.uri=http://127.0.0.1:9", "tracking.timeout_s=1")
    code, output = command.run("-m", "seed=21,22", *dead)
    assert code == 2, output
    assert "the MLflow server cannot be used" in output
    # As on nodes that cannot write the launching machine's sqlite file: the journal alone.
    assert command.run("-m", "seed=21,22", "tracking=journal", "sweep.name=late")[0] == 1
    for seed in (21, 22):
        config = command.runs()[seed] / "config.yaml"
        config.write_text(config.read_text().replace("kind: journal", "kind: mlflow"))
    code, output = command.status("late", "--once")
    assert code == 1, output
    parent, children = _sweep(root, "late")
    assert parent.info.status == "FAILED"
    assert {seed: run.info.status for seed, run in children.items()} == {"21": "FINISHED", "22": "FAILED"}
