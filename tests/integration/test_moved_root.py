"""A root moved, copied, or brought over without its tracker: files, report, where new runs write."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.support.recorded_sweeps import Written, record, settings_of
from webshop_rl.tracking import sync
from webshop_rl.tracking.config import default_uri
from webshop_rl.tracking.database import create_database
from webshop_rl.tracking.prepare import check_tracker
from webshop_rl.tracking.tracker import open_tracker


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms of two runs, one of them adopted from another sweep."""
    root = tmp_path_factory.mktemp("cluster") / "the runs"
    root.mkdir()
    shared = Written("apo_pg", 0, 0.8)
    record(root, "older", [shared])
    record(
        root,
        "study",
        [Written("apo_pg", 1, 0.8), Written("ppo", 0, 0.5), Written("ppo", 1, 0.5)],
        adopted=[shared],
    )
    return root


def _digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _report(root: Path) -> str:
    command = [sys.executable, "-m", "analysis.report", "--sweep", "study", "--root", str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return (root / "reports" / "study" / "report.md").read_text()


def _addresses(root: Path) -> set[str]:
    """Every text of the database that names a place in a file system, by the root it is below."""
    found = set()
    with sqlite3.connect(root / "mlflow.db") as database:
        for (table,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
            for _, column, *_ in database.execute(f"pragma table_info({table})").fetchall():
                query = f"select {column} from {table} where {column} like 'file://%/mlartifacts/%'"
                found |= {str(value).partition("/mlartifacts/")[0] for (value,) in database.execute(query)}
    return found


@pytest.mark.parametrize("way", ["copy", "move"])
def test_a_root_elsewhere_keeps_its_files_and_comparisons(original, tmp_path, way) -> None:
    before = _digest(original)
    elsewhere = tmp_path / "laptop"
    shutil.copytree(original, elsewhere)
    if way == "move":  # of the copy, for others use the original
        assert _addresses(elsewhere) == {original.as_uri()}
        elsewhere = elsewhere.rename(tmp_path / "renamed")
    text = _report(elsewhere)
    assert "does not have the evaluation tables" not in text
    assert "the scripted rule policy" in text
    assert "minus rule" in text or "minus baseline/rule" in text
    assert _addresses(elsewhere) == {elsewhere.as_uri()}
    assert _digest(original) == before
    assert not (tmp_path / "laptop").exists() or way == "copy"
    # What the UI shows is found through the addresses; a client of this process remembers those of before.
    client = MlflowClient(default_uri(elsewhere))
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    for run in client.search_runs(everywhere, "params.seed = '0'"):
        assert _stored(run, "tables/test.json").is_relative_to(elsewhere)
    (parent,) = client.search_runs(everywhere, "tags.verdict != ''")
    assert "4 of 4 runs finished" in parent.data.tags["verdict"]
    assert _stored(parent, "report/report.html").stat().st_size > 1000
    assert _stored(parent, "report/summary.csv").read_text().count("\n") >= 2
    described = parent.data.tags["mlflow.note.content"]
    assert "| arm |" in described


def _stored(run: Run, path: str) -> Path:
    file = Path(unquote(urlparse(run.info.artifact_uri).path)) / path
    assert file.is_file()
    return file


def test_a_new_run_in_a_copy_writes_there_alone(original, tmp_path, caplog) -> None:
    before = _digest(original)
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    settings = settings_of(copy)
    check_tracker(settings)
    folder = copy / "runs" / "new"
    with open_tracker(folder, settings, run_name="new", params={}, tags={}, sweep="study") as tracker:
        tracker.table("test", [{"goal": "g", "score": 1.0}])
        (folder / "config.yaml").write_text("a: 1")
        tracker.artifact(folder / "config.yaml")
    assert caplog.text == ""
    assert tracker.run_id is not None
    stored = list((copy / "mlartifacts").glob(f"*/{tracker.run_id}/artifacts/*"))
    assert sorted(path.name for path in stored) == ["config.yaml", "tables"]
    assert _digest(original) == before


def test_a_copy_of_an_older_record_finds_the_roots_own_tracker(original, tmp_path) -> None:
    """Journals of another version name the tracker by its absolute path; the folder is in their tags."""
    before = _digest(original)
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    for journal in copy.glob("runs/*/journal.jsonl"):
        text = journal.read_text()
        assert '"uri":""' in text
        journal.write_text(text.replace('"uri":""', f'"uri":"{default_uri(original)}"'))
    assert sync.main([str(copy)]) == 0
    assert _addresses(copy) == {copy.as_uri()}
    assert _digest(original) == before


def test_the_folder_of_runs_alone_is_enough(original, tmp_path) -> None:
    before = _digest(original)
    there = tmp_path / "laptop"
    shutil.copytree(original / "runs", there / "runs")
    command = [sys.executable, "-m", "webshop_rl.tracking.sync", str(there)]
    assert "4 of 4 runs are in MLflow" in subprocess.run(command, capture_output=True, text=True).stdout
    # Nor is a database missed that is deleted after it has taken everything.
    (there / "mlflow.db").unlink()
    text = _report(there)
    assert "does not have the evaluation tables" not in text
    assert "4 of 4 runs finished" in text
    assert _digest(original) == before


def test_a_copy_may_be_written_by_another_machine(original, tmp_path, monkeypatch) -> None:
    root, copy = tmp_path / "root", tmp_path / "copy"
    shutil.copytree(original, root)
    monkeypatch.setattr("socket.gethostname", lambda: "login1")
    check_tracker(settings_of(root))
    shutil.copytree(root, copy)
    monkeypatch.undo()
    assert sync.main([str(root)]) == 1
    assert sync.main([str(copy)]) == 0


def test_addresses_that_are_right_or_not_ours_stay(original, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    with sqlite3.connect(copy / "mlflow.db") as database:
        database.execute(
            "insert into experiments (experiment_id, name, artifact_location, lifecycle_stage, workspace)"
            " values (7, 'served', 'mlflow-artifacts:/7', 'active', 'default'),"
            " (8, 'mine', 'file:///somewhere/mlartifacts/of/mine', 'active', 'default')"
        )
    create_database(copy / "mlflow.db")
    with sqlite3.connect(copy / "mlflow.db") as database:
        found = dict(database.execute("select name, artifact_location from experiments"))
    assert found["served"] == "mlflow-artifacts:/7"
    assert found["mine"] == "file:///somewhere/mlartifacts/of/mine"
    assert found["test"] == (copy / "mlartifacts" / "test").as_uri()
    stamp = (copy / "mlflow.db").stat().st_mtime_ns
    create_database(copy / "mlflow.db")
    assert (copy / "mlflow.db").stat().st_mtime_ns == stamp
