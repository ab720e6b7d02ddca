"""What a sweep leaves in MLflow: one parent, its children, their states; and what status makes good."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

sys.path.insert(0, str(Path(__file__).parent))
from sweep_command import Command, read

MLFLOW = ("tracking=mlflow", "tracking.sync_every_s=0.5")


def _runs(root: Path) -> tuple[Any, dict[str, Any]]:
    """(the only parent, children by seed) in the root's database."""
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    children = {r.data.params["seed"]: r for r in found if "mlflow.parentRunId" in r.data.tags}
    (parent,) = (r for r in found if "mlflow.parentRunId" not in r.data.tags)
    assert {r.data.tags["mlflow.parentRunId"] for r in children.values()} == {parent.info.run_id}
    return parent, children


def test_parent_and_children_tell_how_the_runs_ended(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s2="raise", s3="kill_always")
    code, output = command.run("-m", "seed=1,2,3", *MLFLOW)
    assert code == 1, output
    parent, children = _runs(command.root)
    assert {seed: run.info.status for seed, run in children.items()} == {
        "1": "FINISHED",
        "2": "FAILED",
        "3": "FAILED",
    }
    assert children["2"].data.tags["error"] == "ValueError: the shop is closed"
    assert children["3"].data.tags["error"] == "killed by SIGKILL (out of memory?), 3 attempts in a row"
    assert parent.info.status == "FAILED"
    counts = {key: value for key, value in parent.data.tags.items() if key.startswith("runs.")}
    assert counts == {"runs.finished": "1", "runs.failed": "2", "runs.interrupted": "0"}
    fields = read(command.runs()[1] / "signature.json")["fields"]
    assert children["1"].data.params == {key: str(value) for key, value in fields.items()}

    healed = Command(tmp_path / "runs")
    code, output = healed.run("-m", "seed=1,2,3", "retry=true", *MLFLOW)
    assert code == 0, output
    again, children_again = _runs(command.root)
    assert again.info.run_id == parent.info.run_id
    assert again.info.status == "FINISHED"
    assert {s: r.info.run_id for s, r in children_again.items()} == {
        s: r.info.run_id for s, r in children.items()
    }
    assert {run.info.status for run in children_again.values()} == {"FINISHED"}
    history = MlflowClient(f"sqlite:///{command.root}/mlflow.db").get_metric_history(
        children["3"].info.run_id, "train/success"
    )
    assert [point.step for point in history] == [1, 2, 3, 4]


def test_a_run_of_another_sweep_is_tagged_and_stays_its_child(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    assert command.run("-m", "seed=1", "sweep.name=first", *MLFLOW)[0] == 0
    code, output = command.run("-m", "seed=1", "sweep.name=second", *MLFLOW)
    assert code == 0, output
    client = MlflowClient(f"sqlite:///{command.root}/mlflow.db")
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (child,) = (r for r in found if "mlflow.parentRunId" in r.data.tags)
    assert child.data.tags["sweep.second"] == "shared"
    parents = {r.info.run_name: r.info.run_id for r in found if r is not child}
    assert child.data.tags["mlflow.parentRunId"] == parents["first"]
    assert set(parents) == {"first", "second"}


def test_status_brings_a_late_tracker_up_to_date(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s2="raise")
    # As on nodes that cannot write the launching machine's sqlite file: a server that is not there.
    dead = (
        "tracking=mlflow",
        "tracking.uri=http://127.0.0.1:9",
        "tracking.final_sync_s=0",
        "tracking.timeout_s=1",
    )
    code, output = command.run("-m", "seed=1,2", *dead)
    assert code == 2, output
    assert "the MLflow server cannot be used" in output
    assert command.run("-m", "seed=1,2", "tracking=journal", "sweep.name=late")[0] == 1
    assert not (command.root / "mlflow.db").exists()
    for folder in command.runs().values():
        config = folder / "config.yaml"
        config.write_text(config.read_text().replace("kind: journal", "kind: mlflow"))
    code, output = command.status("late", "--once")
    assert code == 1, output
    parent, children = _runs(command.root)
    assert parent.info.status == "FAILED"
    assert {seed: run.info.status for seed, run in children.items()} == {"1": "FINISHED", "2": "FAILED"}
