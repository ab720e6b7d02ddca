"""The journal and MLflow's sqlite database: kill -9 at the worst moments, many processes at once."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.support.paths import REPOSITORY
from tests.support.tracking import destination, metric_history
from webshop_rl.errors import UserError
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.tracking import sync
from webshop_rl.tracking.config import default_uri
from webshop_rl.tracking.mirror import Mirror, run_id_of
from webshop_rl.tracking.prepare import (
    check_tracker,
    ensure_ready,
    finish_parent_run,
    parent_run,
)
from webshop_rl.tracking.tracker import Dataset, open_tracker

NUM_STEPS = 60


PREPARE = """
import sys
from pathlib import Path
from tests.support.tracking import destination
from webshop_rl.tracking.prepare import ensure_ready
root = Path(sys.argv[1])
print(ensure_ready(destination(root)))
print("mlflow" in sys.modules)
"""


@pytest.fixture(scope="module")
def opened_by_many(tmp_path_factory):
    """A fresh root whose first builder is killed among the migrations, and that eight then open at once.

    Returns: (root, the eight's exit codes, what they printed).
    """
    root = tmp_path_factory.mktemp("fresh")
    command = [sys.executable, "-c", PREPARE, str(root)]
    first = subprocess.Popen(command, cwd=REPOSITORY)
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size > 100_000 for part in root.glob(".mlflow.db.*.part")):
        assert time.monotonic() < deadline
        assert first.poll() is None
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert not (root / "mlflow.db").exists()
    eight = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    printed = [process.communicate(timeout=120)[0].split() for process in eight]
    return root, [process.returncode for process in eight], printed


@pytest.fixture(scope="module")
def empty_database(opened_by_many):
    """MLflow's migrations take seconds; the other tests copy what the eight have made."""
    return opened_by_many[0] / "mlflow.db"


@pytest.fixture
def root(tmp_path, empty_database):
    folder = tmp_path / "root"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return folder


def settings(root, **more):
    return destination(root, **{"sync_every_s": 0.2, **more})


def query(root, text):
    with sqlite3.connect(root / "mlflow.db") as connection:
        return connection.execute(text).fetchall()


def doubled(root):
    return query(
        root, "select run_uuid, key, step, count(*) from metrics group by 1, 2, 3 having count(*) > 1"
    )


# A run that computes step after step from its "checkpoint", the last step it says it has saved.
RUN = """
import os, signal, sys
from pathlib import Path
from tests.support.tracking import destination
from webshop_rl.tracking.tracker import open_tracker

root, num_steps, what, at = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
kind = "mlflow" if what in ("none", "batch", "create") else "journal"
settings = destination(root, kind=kind, sync_every_s=0.1)

if what == "flush":
    real, seen = os.write, []
    def torn(handle, content):
        seen.append(1)
        if len(seen) == at:
            real(handle, content[: len(content) // 2])
            die()
        return real(handle, content)
    os.write = torn
if what in ("batch", "create"):
    from mlflow import MlflowClient
    name = "log_batch" if what == "batch" else "create_run"
    stored, calls = getattr(MlflowClient, name), []
    def cut(self, *args, **more):
        calls.append(1)
        result = stored(self, *args, **more)
        if len(calls) == at:
            die()
        return result
    setattr(MlflowClient, name, cut)

folder = root / "runs" / "a"
saved = folder / "saved"
with open_tracker(folder, settings, run_name="a", params={"lr": 1}, tags={"seed": 0}, sweep="s") as tracker:
    first = int(saved.read_text()) + 1 if saved.exists() else 1
    for step in range(first, num_steps + 1):
        values = {"train/score": step / 7, "optim/loss": float("nan"), "time/learn_s": os.getpid()}
        tracker.metrics(step, values)
        if step % 10 == 0:
            tracker.flush()
            saved.write_text(str(step))
        if step % 3 == 0:
            tracker.flush()
        if step % 20 == 0:
            tracker.artifact(saved)  # ends a batch of the replay
    print(len(tracker.mismatches))
"""


def run(root, what="none", at=0):
    command = [sys.executable, "-c", RUN, str(root), str(NUM_STEPS), what, str(at)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


def check_whole(root):
    (run_id,) = [r for r, name in query(root, "select run_uuid, name from runs") if name == "a"]
    score = query(root, "select step, value from metrics where key = 'train/score' order by step")
    assert score == [(step, step / 7) for step in range(1, NUM_STEPS + 1)]
    loss = query(root, "select step, is_nan from metrics where key = 'optim/loss' order by step")
    assert loss == [(step, 1) for step in range(1, NUM_STEPS + 1)]
    assert doubled(root) == []
    journal = metric_history(Root(root).run("a").journal, "train/score")
    stamps = query(root, "select timestamp from metrics where key = 'train/score' order by step")
    assert [ts for (ts,) in stamps] == [point.ts_ms for point in journal]
    assert query(root, f"select status from runs where run_uuid = '{run_id}'") == [("FINISHED",)]
    assert query(root, "select key, value from params") == [("lr", "1")]


def test_killed_inside_flushes_and_replayed(root):
    for at in (2, 5, 8):
        killed = run(root, "flush", at)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = run(root, "journal")
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    assert (Root(root).run("a").torn_journal).exists()
    assert sync.main([str(root)]) == 0
    check_whole(root)


def test_killed_inside_the_replay_and_resumed(root):
    # Killed when the run was made but not noted, and when a batch was stored but not noted.
    for what, at in (("create", 1), ("batch", 2)):
        killed = run(root, what, at)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = run(root)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    check_whole(root)


def test_forgotten_progress_and_a_second_replay_change_nothing(root):
    assert run(root, "journal").returncode == 0
    folder = root / "runs" / "a"
    assert sync.main([str(folder)]) == 0
    first = run_id_of(folder, default_uri(root))
    (folder / "mlflow.json").unlink()
    assert sync.main([str(root / "runs")]) == 0
    assert run_id_of(folder, default_uri(root)) == first
    check_whole(root)


def test_a_run_that_the_tracker_has_lost_is_replayed_anew(root):
    assert run(root, "journal").returncode == 0
    folder = root / "runs" / "a"
    # As after `rm mlflow.db`: the note of what was taken is older than the database.
    all_but_the_end = RunFolder(folder).journal.read_bytes()[:-1].rindex(b"\n") + 1
    lost = {"run_id": "0" * 32, "experiment_id": "7", "offset": all_but_the_end}
    (folder / "mlflow.json").write_text(json.dumps({"targets": {default_uri(root): lost}}))
    assert sync.main([str(root)]) == 0
    check_whole(root)


def test_a_fresh_root_is_built_once_for_eight_although_the_first_builder_was_killed(opened_by_many):
    root, codes, printed = opened_by_many
    assert codes == [0] * 8
    ids, imported = zip(*printed, strict=True)
    assert len(set(ids)) == 1
    assert imported.count("True") == 1  # the other seven found it made and were spared the import
    assert query(root, "select name from experiments where experiment_id > 0") == [("e",)]
    assert query(root, "pragma integrity_check") == [("ok",)]
    assert not list(root.glob(".mlflow.db.*"))


TRACK = """
import sys
from pathlib import Path
from tests.support.tracking import destination
from webshop_rl.tracking.tracker import open_tracker
root, name = Path(sys.argv[1]), sys.argv[2]
settings = destination(root, sync_every_s=0.1)
with open_tracker(root / "runs" / name, settings, run_name=name, params={}, tags={}, sweep=None) as tracker:
    tracker.metrics(1, {"train/score": 0.5})
"""


def test_runs_that_start_at_once_on_a_fresh_root_all_arrive(tmp_path):
    """Each is the first to connect, and a client alone would make the database in place."""
    started = [
        subprocess.Popen([sys.executable, "-c", TRACK, str(tmp_path), name], cwd=REPOSITORY) for name in "abc"
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0, 0]
    assert sync.main([str(tmp_path)]) == 0
    assert query(tmp_path, "select name from runs order by name") == [("a",), ("b",), ("c",)]
    assert query(tmp_path, "select count(*) from metrics") == [(3,)]
    assert query(tmp_path, "pragma integrity_check") == [("ok",)]


def test_tables_artifacts_and_traces_are_where_mlflow_shows_them(root):
    from mlflow import MlflowClient

    episode = {"goal": "red shoes", "score": 1.0, "end": "bought"}
    turn = {"page": "p0", "reply": "search[red]", "action": "search[red]", "reward": 0.3}
    turns = [{**turn, "parts": {"search": 0.3}}] * 2
    feedback = {"score": 0.5, "success": False, "reason": "loop", "search": 0.6}
    with open_tracker(
        root / "runs" / "a", settings(root, traces=2), run_name="a", params={}, tags={}
    ) as tracker:
        (tracker.folder / "config.yaml").write_text("lr: 1")
        tracker.artifact(tracker.folder / "config.yaml")
        tracker.table("test", [{"goal": "a", "score": 1.0}, {"goal": "b", "score": 0.5}])
        tracker.traces(
            "test", [{**episode, "turns": turns, "feedback": feedback, "place": i} for i in range(3)]
        )
    client = MlflowClient(default_uri(root))
    assert {f.path for f in client.list_artifacts(tracker.run_id)} == {"config.yaml", "tables"}
    table = client.load_table(experiment_id="1", artifact_file="tables/test.json")
    assert table.to_dict("list") == {"goal": ["a", "b"], "score": [1.0, 0.5]}
    (tracker.folder / "mlflow.json").unlink()
    Mirror(tracker.folder, settings(root)).sync()
    traces = client.search_traces(locations=["1"], run_id=tracker.run_id)
    assert len(traces) == 2
    spans = sorted(traces[0].data.spans, key=lambda span: span.name)
    assert [span.name for span in spans] == ["episode", "turn 1", "turn 2"]
    assert spans[1].outputs == {k: v for k, v in turns[0].items() if k != "page"}
    for trace in traces:
        said = {each.name: (each.value, each.source.source_type) for each in trace.info.assessments}
        assert said == {name: (value, "CODE") for name, value in feedback.items()}
    # Newest first is the order in which MLflow lists them, and the order in which they were given.
    newest = sorted(traces, key=lambda trace: -trace.info.request_time)
    assert [trace.data.spans[0].attributes["place"] for trace in newest] == [0, 1]


def test_a_trace_cut_off_while_it_was_sent_is_sent_once(root, monkeypatch):
    from mlflow import MlflowClient

    import webshop_rl.tracking.traces as traces_module

    episodes = [
        {
            "goal": f"g{i}",
            "instruction": "buy",
            "score": i,
            "feedback": {"score": i},
            "turns": [{"page": "a [SEP] b"}] * 2,
        }
        for i in range(2)
    ]
    with open_tracker(
        root / "runs" / "a",
        settings(root, traces=2, kind="journal"),
        run_name="a",
        params={},
        tags={},
    ) as tracker:
        tracker.traces("test", episodes)
    mirror = Mirror(tracker.folder, settings(root))
    sent = []

    def dies_in_the_second(path, content):
        note(path, content)
        sent.append(content)
        if len(sent) == 2:
            # As a kill between two spans: one turn is stored, the root never ends.
            import mlflow

            root_span = mlflow.start_span_no_context("episode", experiment_id="1")
            mlflow.start_span_no_context("turn 0", parent_span=root_span).end()
            note(path, root_span.trace_id)
            raise KeyboardInterrupt

    note = traces_module.replace_file
    monkeypatch.setattr(traces_module, "replace_file", dies_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        mirror.sync()
    client = MlflowClient(default_uri(root))
    assert len(client.search_traces(locations=["1"])) == 2
    monkeypatch.setattr(traces_module, "replace_file", note)
    mirror.sync()
    found = client.search_traces(locations=["1"])
    assert sorted(trace.data.spans[0].inputs["goal"] for trace in found) == ["g0", "g1"]
    assert {trace.data.spans[0].inputs["instruction"] for trace in found} == {"buy"}
    assert sorted(trace.info.tags["success"] for trace in found) == ["no", "yes"]
    assert {trace.info.execution_duration for trace in found} == {0}
    assert sorted(each.value for trace in found for each in trace.info.assessments) == [0, 1]
    assert [span.name for span in found[0].data.spans[1:]] == ["turn 1", "turn 2"]
    assert found[0].data.spans[1].inputs["page"] == "a\nb"


def test_goals_and_the_best_checkpoint_are_linked_once_however_often_they_are_replayed(root, monkeypatch):
    from mlflow import MlflowClient

    tested = Dataset("shop5 test", "d" * 36, "test", "a.shop", {"num_goals": 5, "num_products": 4})
    folder = root / "runs" / "a"
    with open_tracker(
        folder, settings(root, kind="journal"), run_name="lr=0.5", params={}, tags={}
    ) as tracker:
        tracker.dataset(tested)
        tracker.metrics(1, {"test/score": 0.25, "test/success": 0.0})
        tracker.metrics(2, {"test/score": 0.75, "test/success": 0.5})
        tracker.model(
            "lr=0.5 tiny", folder / "update_000001", step=1, metrics=["test/score"], tested_on=tested
        )
    mirror = Mirror(folder, settings(root))

    def dies(*args):
        raise KeyboardInterrupt

    # A kill when the model was made and nothing was linked to it yet.
    with monkeypatch.context() as cut:
        cut.setattr(MlflowClient, "log_outputs", dies)
        with pytest.raises(KeyboardInterrupt):
            mirror.sync()
    mirror.sync()
    (folder / "mlflow.json").unlink()
    Mirror(folder, settings(root)).sync()

    client = MlflowClient(default_uri(root))
    run = client.get_run(run_id_of(folder, default_uri(root)))
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("shop5 test", "d" * 36)
    assert json.loads(given.dataset.profile) == {"num_goals": 5, "num_products": 4}
    assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "test")]
    (output,) = run.outputs.model_outputs
    (model,) = client.search_logged_models(["1"])
    assert (output.model_id, output.step) == (model.model_id, 1)
    assert (model.name, model.source_run_id, model.status) == ("lr=0_5 tiny", run.info.run_id, "READY")
    assert model.tags["checkpoint"] == str(folder / "update_000001")
    (metric,) = model.metrics
    assert (metric.key, metric.value, metric.dataset_name) == ("test/score", 0.75, "shop5 test")
    assert doubled(root) == []


def test_one_parent_for_a_sweep_however_often_it_is_asked_for(root):
    from mlflow import MlflowClient

    first = parent_run(settings(root), "grid", {"overrides": "lr=1,2"})
    assert parent_run(settings(root), "grid") == first
    assert parent_run(settings(root), "other") != first
    with open_tracker(
        root / "runs" / "a", settings(root), run_name="a", params={}, tags={}, sweep="grid"
    ) as child:
        pass
    parents = query(
        root, f"select value from tags where key = 'mlflow.parentRunId' and run_uuid = '{child.run_id}'"
    )
    assert parents == [(first,)]
    # What a report put before the launcher's description stays as long as the launcher says the same.
    for said, shown in (("1 run", "1 run"), ("1 run", "It won.\n\n1 run"), ("2 runs", "2 runs")):
        parent_run(settings(root), "grid", {"mlflow.note.content": said})
        client = MlflowClient(default_uri(root))
        assert client.get_run(first).data.tags["mlflow.note.content"] == shown
        client.set_tag(first, "mlflow.note.content", f"It won.\n\n{said}")
    finish_parent_run(settings(root), "grid", first, "FINISHED")
    assert query(root, f"select status, name from runs where run_uuid = '{first}'") == [("FINISHED", "grid")]


def test_a_tracker_that_cannot_be_written_is_refused_at_launch(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        check_tracker(settings(tmp_path / "file"))
    (tmp_path / "mlflow.db").write_text("this is no database")
    with pytest.raises(UserError, match="cannot be used"):
        ensure_ready(settings(tmp_path))


def test_sync_tells_what_it_could_not_replay(root, capsys):
    assert sync.main([str(root)]) == 2
    assert "contains no run" in capsys.readouterr().err
    assert run(root, "journal").returncode == 0
    assert sync.main([str(root), "--tracking-uri", "http://127.0.0.1:9", "--timeout-s", "1"]) == 1
    assert "not replayed: http://127.0.0.1:9: the MLflow server cannot be used" in capsys.readouterr().out
    (root / "mlflow.db.host").write_text("login1")
    assert sync.main([str(root)]) == 1
    assert "is written by login1" in capsys.readouterr().out
    (root / "mlflow.db.host").unlink()
    assert sync.main([str(root)]) == 0
    assert "FINISHED" in capsys.readouterr().out
    assert os.path.exists(root / "mlflow.db")
