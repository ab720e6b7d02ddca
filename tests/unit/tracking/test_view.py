"""The page that MLflow opens on, and what `ui` finds that it would not show."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.support.tracking import destination
from webshop_rl.tracking.config import default_uri
from webshop_rl.tracking.names import describe
from webshop_rl.tracking.sync import lacking
from webshop_rl.tracking.tracker import open_tracker
from webshop_rl.tracking.view import experiment_of, runs_page, saved_view

MAX_TAG_CHARS = 5000  # of an experiment, in MLflow


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as connection:
        columns = "run_uuid text, experiment_id int, start_time int, lifecycle_stage text"
        connection.execute(f"create table runs ({columns})")
        connection.execute("create table tags (run_uuid text, key text, value text)")
        rows = [("a", 1, 10, "active"), ("b", 2, 20, "active"), ("c", 3, 30, "deleted")]
        connection.executemany("insert into runs values (?, ?, ?, ?)", rows)
        connection.execute("insert into tags values ('a', 'sweep', 'first')")
    return path


def test_the_page_is_that_of_the_newest_run_or_of_a_sweep_under_the_saved_view(database: Path) -> None:
    assert experiment_of(database) == "2"
    assert experiment_of(database, "first") == "1"
    assert experiment_of(database, "other") is None
    own = runs_page("http://127.0.0.1:5000", "2", None)
    assert own.startswith("http://127.0.0.1:5000/#/experiments/2/runs?")
    for sweep in (None, "first"):
        key, _ = saved_view(sweep)
        shared = f"&viewStateShareKey={key.removeprefix('mlflow.sharedViewState.')}"
        assert runs_page("http://127.0.0.1:5000", "2", key) == own + shared


def test_a_sweep_is_shown_flat_and_the_best_first() -> None:
    (key, folded), (own, flat) = saved_view(), saved_view("first")
    assert key != own
    assert "searchFilter" not in json.loads(folded)
    assert json.loads(flat)["searchFilter"] == "tags.sweep = 'first'"
    assert json.loads(flat)["orderByKey"] == "metrics.`test/score`"


def test_without_a_run_the_page_is_the_list_of_experiments(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be looked at as one" * 20)
    assert experiment_of(tmp_path / "mlflow.db") is None
    assert experiment_of(tmp_path / "absent.db") is None
    assert runs_page("http://a:1", None, None) == "http://a:1/#/experiments?workflowType=machine_learning"


def test_the_view_shows_metrics_there_are_and_the_test_before_the_algorithm() -> None:
    _, value = saved_view("s" * 100)
    assert len(value) <= MAX_TAG_CHARS
    view = json.loads(value)
    columns = [column.split("`")[1] for column in view["selectedColumns"] if column.startswith("metrics")]
    assert columns[0] == "test/score"
    for name in columns:
        describe(name)
    sections = [section["name"] for section in view["compareRunSections"]]
    assert sections.index("test") < sections.index("untrained") < sections.index("algo")


def test_runs_that_the_roots_tracker_lacks_are_found_and_those_of_others_are_counted(tmp_path: Path) -> None:
    def record(name: str, uri: str | None) -> Path:
        place = destination(tmp_path, uri, kind="journal")
        with open_tracker(tmp_path / "runs" / name, place, run_name=name, params={}, tags={}) as tracker:
            tracker.metrics(1, {"train/score": 0.5})
        return tmp_path / "runs" / name

    missing, whole = record("missing", None), record("whole", None)
    record("elsewhere", "http://server:5000")
    taken = {"run_id": "r", "experiment_id": "1", "offset": (whole / "journal.jsonl").stat().st_size}
    (whole / "mlflow.json").write_text(json.dumps({"targets": {default_uri(tmp_path): taken}}))
    own, elsewhere = lacking(tmp_path)
    assert own == [missing]
    assert elsewhere == {"http://server:5000": 1}
    assert lacking(tmp_path / "none") == ([], {})
