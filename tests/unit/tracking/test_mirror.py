"""The replay to MLflow against a tracker in memory that may be cut off at any request."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.tracking import destination
from webshop_rl.storage.lock import Busy, FolderLock
from webshop_rl.tracking import mirror as mirror_module
from webshop_rl.tracking.journal import Journal
from webshop_rl.tracking.mirror import Mirror, run_id_of


class Cut(Exception):
    """The process dies here."""


class MemoryTracker:
    """Stores what MLflow stores, by MLflow's rules, and dies at a chosen request, before or after it."""

    tracking_uri = "http://127.0.0.1:1"

    def __init__(self):
        self.runs = {}
        self.requests = []
        self.die_at, self.after = -1, False

    def _request(self, name, effect):
        number = len(self.requests)
        self.requests.append(name)
        if number == self.die_at and not self.after:
            raise Cut
        result = effect()
        if number == self.die_at:
            raise Cut
        return result

    def search_runs(self, experiment_ids, filter_string, **_):
        value = filter_string.split("'")[1]
        found = [r for r, run in self.runs.items() if value in run["tags"].values()]
        return [SimpleNamespace(info=SimpleNamespace(run_id=r)) for r in found]

    def create_run(self, experiment_id, *, start_time, tags, run_name):
        def effect():
            run_id = f"run{len(self.runs)}"
            run = {"tags": dict(tags), "params": {}, "metrics": [], "name": run_name, "status": "RUNNING"}
            self.runs[run_id] = {**run, "artifacts": {}}
            return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

        return self._request("create", effect)

    def log_batch(self, run_id, *, metrics, params, tags):
        assert len(metrics) + len(params) + len(tags) <= 1000
        assert max(len(params), len(tags)) <= 100

        def effect():
            run = self.runs[run_id]
            for m in metrics:
                if (m.key, m.step, m.timestamp, m.value) not in run["metrics"]:
                    run["metrics"].append((m.key, m.step, m.timestamp, m.value))
            for p in params:
                assert run["params"].setdefault(p.key, p.value) == p.value
            run["tags"].update({t.key: t.value for t in tags})

        self._request("batch", effect)

    def update_run(self, run_id, *, status=None, name=None):
        change = {k: v for k, v in (("status", status), ("name", name)) if v}
        self._request("update", lambda: self.runs[run_id].update(change))

    def set_terminated(self, run_id, status, *, end_time):
        self._request("end", lambda: self.runs[run_id].update(status=status, end=end_time))

    def set_tag(self, run_id, key, value):
        self._request("tag", lambda: self.runs[run_id]["tags"].update({key: value}))

    def get_run(self, run_id):
        return SimpleNamespace(info=SimpleNamespace(artifact_uri="mlflow-artifacts:/0/x"))

    def log_artifact(self, run_id, path, folder):
        content = Path(path).read_text()
        name = f"{folder or ''}/{path.rsplit('/', 1)[1]}"
        self._request("artifact", lambda: self.runs[run_id]["artifacts"].update({name: content}))


@pytest.fixture
def tracker(monkeypatch):
    memory = MemoryTracker()
    monkeypatch.setattr(mirror_module, "connect", lambda uri, timeout_s: memory)
    monkeypatch.setattr(mirror_module, "ensure_ready", lambda destination: "0")
    monkeypatch.setattr(mirror_module, "parent_run", lambda destination, sweep: {"s": "parent7"}[sweep])
    return memory


def settings(root):
    return destination(root, "http://tracker")


def record(folder, *, num_steps=30, num_keys=40):
    """A run with 1200 values, 250 params, tags, an artifact and an end: about ten requests."""
    journal = Journal(folder)
    journal.run(run_name="apo", experiment="e", uri="http://tracker", sweep="s")
    journal.state("RUNNING")
    journal.params({f"p{i}": str(i) for i in range(250)})
    journal.tags({"seed": "0"})
    for step in range(num_steps):
        journal.metrics(step, {f"algo/k{i}": step + i / 100 for i in range(num_keys)})
    (folder / "config.yaml").write_text("lr: 1")
    journal.artifact("config.yaml", "conf")
    journal.tags({"seed": "1"})
    journal.state("FINISHED")
    journal.close()
    return journal


def expected(num_steps=30, num_keys=40):
    return {(f"algo/k{i}", step, step + i / 100) for i in range(num_keys) for step in range(num_steps)}


def check(run):
    assert {(key, step, value) for key, step, _, value in run["metrics"]} == expected()
    assert len(run["metrics"]) == len(expected())
    assert run["params"] == {f"p{i}": str(i) for i in range(250)}
    assert run["tags"]["seed"] == "1"
    assert run["tags"]["mlflow.parentRunId"] == "parent7"
    assert run["artifacts"] == {"conf/config.yaml": "lr: 1"}
    assert (run["status"], run["name"]) == ("FINISHED", "apo")


def test_everything_arrives_in_few_requests_with_its_own_timestamps(tmp_path, tracker):
    folder = tmp_path / "runs" / "a"
    journal = record(folder)
    mirror = Mirror(folder, settings(tmp_path))
    assert mirror.behind()
    assert mirror.sync() == 37  # run, 2 states, params, 2 tags, 30 metrics, artifact
    (run,) = tracker.runs.values()
    check(run)
    stamps = {row["ts_ms"] for row in map(json.loads, journal.path.read_text().splitlines())}
    assert {ts for _, _, ts, _ in run["metrics"]} <= stamps
    # create, name, parent, RUNNING, 250 params in 3 with the rest, artifact, the last tag, the end.
    assert len(tracker.requests) <= 12
    assert not mirror.behind()
    assert mirror.sync() == 0
    assert run_id_of(folder, "http://tracker") == "run0"


@pytest.mark.parametrize("after", [False, True])
def test_cut_off_at_any_request_and_replayed_gives_the_same_run_once(tmp_path, tracker, after):
    whole = tmp_path / "runs" / "whole"
    record(whole)
    Mirror(whole, settings(tmp_path)).sync()
    num_requests = len(tracker.requests)
    assert num_requests >= 8
    for cut in range(num_requests):
        tracker.__init__()
        tracker.die_at, tracker.after = cut, after
        folder = tmp_path / "runs" / f"cut{cut}"
        record(folder)
        with pytest.raises(Cut):
            Mirror(folder, settings(tmp_path)).sync()
        assert Mirror(folder, settings(tmp_path)).behind()
        Mirror(folder, settings(tmp_path)).sync()
        assert len(tracker.runs) == 1
        check(tracker.runs["run0"])


def test_rows_written_since_are_sent_alone(tmp_path, tracker):
    folder = tmp_path / "runs" / "a"
    record(folder)
    mirror = Mirror(folder, settings(tmp_path))
    mirror.sync()
    num_requests = len(tracker.requests)
    journal = Journal(folder)
    journal.state("RUNNING")
    journal.metrics(31, {"train/score": 1.0})
    journal.flush()
    assert mirror.sync() == 2
    assert tracker.requests[num_requests:] == ["update", "batch"]
    assert tracker.runs["run0"]["status"] == "RUNNING"


def test_values_over_the_limits_are_cut_and_say_so(tmp_path, tracker):
    folder = tmp_path / "runs" / "a"
    journal = Journal(folder)
    journal.run(run_name="a", experiment="e", uri="u", sweep="")
    journal.params({"long": "x" * 7000, "fits": "y" * 6000})
    journal.tags({f"t{i}": "\u00e9" * 9000 for i in range(120)})
    journal.close()
    Mirror(folder, settings(tmp_path)).sync()
    run = tracker.runs["run0"]
    assert len(run["params"]["long"]) == 6000
    assert run["params"]["long"].endswith("x... [cut: 7000 characters]")
    assert run["params"]["fits"] == "y" * 6000
    assert len(run["tags"]["t119"]) == 8000


def test_another_tracker_is_filled_from_the_beginning(tmp_path, tracker, monkeypatch):
    folder = tmp_path / "runs" / "a"
    record(folder)
    Mirror(folder, settings(tmp_path)).sync()
    tracker.__init__()
    other = destination(tmp_path, "http://other")
    monkeypatch.setattr(mirror_module, "parent_run", lambda s, sweep: f"parent of {sweep}")
    Mirror(folder, other).sync()
    # The parent was made in the first tracker; here it is the sweep's own.
    assert tracker.runs["run0"]["tags"]["mlflow.parentRunId"] == "parent of s"
    assert run_id_of(folder, "http://other") == "run0"
    assert len(tracker.runs["run0"]["metrics"]) == len(expected())


def test_two_replays_of_one_run_do_not_overlap(tmp_path, tracker):
    folder = tmp_path / "runs" / "a"
    record(folder)
    with FolderLock(folder, "mlflow").acquire(), pytest.raises(Busy):
        Mirror(folder, settings(tmp_path)).sync()
    assert not tracker.requests


def test_a_row_being_written_is_left_for_later(tmp_path, tracker):
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_bytes(b'{"kind":"run","ts')
    assert Mirror(folder, settings(tmp_path)).sync() == 0
    assert not tracker.runs
