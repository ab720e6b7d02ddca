"""What a run calls to be recorded, with the journal alone."""

import json
import math
import os
import threading
from pathlib import Path

import pytest

from tests.support.tracking import destination
from webshop_rl.errors import UserError
from webshop_rl.preemption import Preempted
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.tracking import rows
from webshop_rl.tracking.background import BackgroundMirror
from webshop_rl.tracking.tracker import JournalTracker, Tracker, open_tracker


def opened(root, name="a", *, rank=0, **more):
    settings = destination(root, kind="journal", traces=2)
    params = {"lr": 5e-6, "env.name": "shop5"}
    return open_tracker(
        root / "runs" / name, settings, run_name="apo", params=params, tags={"seed": 0, **more}, rank=rank
    )


def journal_of(tracker):
    return rows.read_rows(RunFolder(tracker.folder).journal)


def kinds(tracker, kind):
    return [row for row in journal_of(tracker) if row["kind"] == kind]


def test_a_run_is_recorded_and_its_end_is_told(tmp_path):
    with opened(tmp_path) as tracker:
        tracker.metrics(1, {"train/score": 0.5})
        tracker.flush()
        (tracker.folder / "config.yaml").write_text("a: 1")
        tracker.artifact(tracker.folder / "config.yaml")
    assert kinds(tracker, "params")[0]["params"] == {"lr": "5e-06", "env.name": "shop5"}
    assert kinds(tracker, "artifact")[0]["path"] == "config.yaml"
    assert [row["status"] for row in kinds(tracker, "state")] == ["RUNNING", "FINISHED"]
    assert not (tmp_path / "mlflow.db").exists()
    assert tracker.run_id is None


def test_a_flushed_row_is_on_disk_before_the_run_ends(tmp_path):
    tracker = opened(tmp_path)
    tracker.metrics(1, {"train/score": 0.5})
    assert not kinds(tracker, "metrics")
    tracker.flush()
    assert kinds(tracker, "metrics")
    tracker.finish()


def test_an_exception_fails_the_run_with_its_error_and_a_resume_clears_it(tmp_path):
    with pytest.raises(ZeroDivisionError), opened(tmp_path) as tracker:
        1 / 0  # noqa: B018
    state = kinds(tracker, "state")[-1]
    assert (state["status"], state["error"]) == ("FAILED", "ZeroDivisionError: division by zero")
    assert kinds(tracker, "tags")[-1]["tags"]["error"] == "ZeroDivisionError: division by zero"
    described = kinds(tracker, "tags")[-1]["tags"]["mlflow.note.content"]
    assert described.startswith("Failed: ZeroDivisionError: division by zero")
    assert "1 / 0" in (tracker.folder / "error.txt").read_text()
    assert kinds(tracker, "artifact")[-1]["path"] == "error.txt"
    with opened(tmp_path) as tracker:
        pass
    assert kinds(tracker, "tags")[-1]["tags"] == {"error": "", "mlflow.note.content": ""}
    assert [row["status"] for row in kinds(tracker, "state")] == ["RUNNING", "FAILED", "RUNNING", "FINISHED"]


def test_a_stopped_run_has_not_failed(tmp_path):
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as tracker:
        raise KeyboardInterrupt
    assert kinds(tracker, "state")[-1]["status"] == "KILLED"
    assert not (tracker.folder / "error.txt").exists()


def test_what_was_called_the_end_is_not_overruled_by_the_exception_that_follows(tmp_path):
    with pytest.raises(Preempted), opened(tmp_path) as tracker:  # noqa: PT012
        tracker.finish("KILLED")
        raise Preempted("now")
    assert kinds(tracker, "state")[-1]["status"] == "KILLED"
    assert not (tracker.folder / "error.txt").exists()


def test_a_typo_is_refused_before_it_is_recorded(tmp_path):
    with opened(tmp_path) as tracker:
        with pytest.raises(ValueError, match="did you mean train/score"):
            tracker.metrics(1, {"train/scores": 1.0})
        with pytest.raises(ValueError, match="cannot be a param or tag"):
            tracker.tags({"a[0]": 1})
        with pytest.raises(ValueError, match="subpath"):
            tracker.artifact(tmp_path / "elsewhere.txt")
    assert not kinds(tracker, "metrics")


def test_a_table_is_in_the_format_mlflow_shows(tmp_path):
    table = [{"goal": "shop5/1", "score": 1.0}, {"goal": "shop5/2", "score": math.nan, "turns": 3}]
    with opened(tmp_path) as tracker:
        tracker.table("test", table)
        tracker.table("val", [{"goal": "x"}])
    written = json.loads((tracker.folder / "tables" / "test.json").read_text())
    assert written == {
        "columns": ["goal", "score", "turns"],
        "data": [["shop5/1", 1.0, None], ["shop5/2", None, 3]],
    }
    with opened(tmp_path) as tracker:
        tracker.table("test", table)
    listed = json.loads(kinds(tracker, "tags")[-1]["tags"]["mlflow.loggedArtifacts"])
    assert [entry["path"] for entry in listed] == ["tables/test.json", "tables/val.json"]


def test_only_so_many_episodes_become_traces(tmp_path):
    with opened(tmp_path) as tracker:
        tracker.traces("test", ({"goal": f"g{i}", "score": 0.0, "turns": []} for i in range(5)))
    written = json.loads((tracker.folder / "traces" / "test.json").read_text())
    assert [episode["goal"] for episode in written] == ["g0", "g1"]


def test_other_ranks_record_nothing(tmp_path):
    with opened(tmp_path, rank=1) as tracker:
        tracker.metrics(1, {"train/score": 1.0})
        tracker.flush()
    assert type(tracker) is Tracker
    assert not tmp_path.joinpath("runs").exists()


def test_a_second_process_is_kept_out_of_a_run_at_work(tmp_path, monkeypatch):
    monkeypatch.setattr("webshop_rl.storage.lock.PATIENCE_ALIVE_S", 0.0)
    with (
        opened(tmp_path),
        pytest.raises(UserError, match=f"executing this run: held by process {os.getpid()}"),
    ):
        opened(tmp_path)
    opened(tmp_path).finish()


def test_a_resume_that_is_not_exact_is_tagged(tmp_path):
    with opened(tmp_path) as tracker:
        tracker.metrics(1, {"train/score": 0.5, "optim/loss": 1.0})
    with opened(tmp_path) as tracker:
        tracker.metrics(1, {"train/score": 0.6, "optim/loss": 1.0})
    assert len(tracker.mismatches) == 1
    assert kinds(tracker, "tags")[-1]["tags"] == {"resume_mismatches": "1"}


def test_a_damaged_journal_gives_the_lock_back(tmp_path):
    opened(tmp_path).finish()
    path = Root(tmp_path).run("a").journal
    path.write_bytes(b"?\n" + path.read_bytes())
    for _ in range(2):
        with pytest.raises(UserError, match="line 1 is damaged"):
            opened(tmp_path)


def test_a_sqlite_tracker_of_another_machine_is_left_to_it(tmp_path, caplog):
    (tmp_path / "mlflow.db.host").write_text("login1")
    settings = destination(tmp_path)
    with open_tracker(tmp_path / "runs" / "a", settings, run_name="a", params={}, tags={}):
        pass
    assert "launching machine's to write" in caplog.text
    assert not (tmp_path / "mlflow.db").exists()


class Away:
    """A mirror whose tracker refuses three times, then answers."""

    destination = destination(Path("/nowhere"), "http://tracker", sync_every_s=0.01)

    def __init__(self, failures):
        self.failures = failures
        self.calls = 0
        self.back = threading.Event()

    def sync(self, *, wait_s=0.0):
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError("refused\nsecond line")
        if self.calls > self.failures + 2:
            self.back.set()
        return 5

    def behind(self):
        return self.calls <= self.failures


def test_tracker_that_goes_and_comes_back_is_told_once_each(caplog):
    mirror = Away(3)
    background = BackgroundMirror(mirror)
    assert mirror.back.wait(60)
    assert background.finish(60.0)
    assert caplog.text.count("does not take rows (refused)") == 1
    assert caplog.text.count("MLflow is back") == 1
    assert "second line" not in caplog.text


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("status", "waited_s"), [("FINISHED", 20.0), ("KILLED", 5.0)])
def test_a_run_never_waits_for_a_tracker_that_hangs_and_its_end_so_long_as_was_set(
    tmp_path, monkeypatch, status, waited_s
):
    asked, answer, joins = threading.Event(), threading.Event(), []

    def hang(self, *, wait_s=0.0):
        asked.set()
        answer.wait()

    def join(thread, timeout=None):
        joins.append((thread.name, timeout))

    monkeypatch.setattr("webshop_rl.tracking.mirror.Mirror.sync", hang)
    monkeypatch.setattr(threading.Thread, "join", join)
    settings = destination(tmp_path, "http://tracker", sync_every_s=0.001, final_sync_s=20.0)
    tracker = open_tracker(tmp_path / "runs" / "a", settings, run_name="a", params={}, tags={})
    assert asked.wait(30)
    tracker.metrics(1, {"train/score": 0.5})
    tracker.flush()
    assert kinds(tracker, "metrics")
    tracker.finish(status)
    assert not answer.is_set()
    assert joins == [("mlflow-mirror", waited_s)]
    assert kinds(tracker, "state")[-1]["status"] == status
    answer.set()


def test_a_tracker_that_stays_away_is_given_up_at_the_end():
    assert not BackgroundMirror(Away(10**9)).finish(5.0)


def test_all_that_a_run_may_call_is_recorded():
    public = {name for name in vars(Tracker) if not name.startswith("_")}
    assert public <= {name for name in vars(JournalTracker) if not name.startswith("_")}
