from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from webshop_rl.config.schema import RunConfig
from webshop_rl.launching.launchers import alive_as_launcher
from webshop_rl.launching.plan import Action, CodeChanged, Planned, plan, plan_all
from webshop_rl.launching.reconcile import observe, record_crash
from webshop_rl.launching.worker import is_lost_rank
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import RunStatus, State, read_status

SIGNATURE = "0123456789ab"
PLAIN = RunConfig(retry=False, rerun=False, on_code_change="refuse")


def _run(
    root: Path, state: State, *, code: str = "now", results: bool = True, name: str = SIGNATURE
) -> RunFolder:
    folder = Root(root).run(name)
    folder.path.mkdir(parents=True)
    folder.signature.write_text(json.dumps({"code_digest": code}))
    RunStatus(state, attempts=0 if state == State.PREPARED else 1, error="why").write(folder)
    if results:
        folder.journal.write_text('{"kind":"metrics","ts_ms":1,"step":3,"metrics":{}}\n')
    return folder


def _plan(root: Path, **reuse: str | bool) -> Planned:
    config = replace(PLAIN, **reuse)  # type: ignore[arg-type]
    return plan(Root(root), SIGNATURE, code="now", config=config, observe=read_status)


def test_a_new_run_starts(tmp_path: Path) -> None:
    assert _plan(tmp_path) == Planned(Root(tmp_path).run(SIGNATURE), Action.START)


@pytest.mark.parametrize(
    ("state", "reuse", "action"),
    [
        (State.PREPARED, {}, Action.START),
        (State.FINISHED, {}, Action.SKIP),
        (State.FINISHED, {"retry": True}, Action.SKIP),
        (State.INTERRUPTED, {}, Action.RESUME),
        (State.FAILED, {}, Action.KEEP_FAILED),
        (State.FAILED, {"retry": True}, Action.RESUME),
        (State.RUNNING, {}, Action.LEAVE),
        (State.QUEUED, {"rerun": True}, Action.LEAVE),
        (State.PREEMPTED, {"retry": True}, Action.LEAVE),
    ],
)
def test_what_becomes_of_a_run(tmp_path: Path, state: State, reuse: dict[str, bool], action: Action) -> None:
    folder = _run(tmp_path, state)
    planned = _plan(tmp_path, **reuse)
    assert (planned.action, planned.folder) == (action, folder)
    assert planned.executes == (action in (Action.START, Action.RESUME))


def test_rerun_starts_beside_the_old_and_the_newest_counts(tmp_path: Path) -> None:
    _run(tmp_path, State.FINISHED)
    planned = _plan(tmp_path, rerun=True)
    assert (planned.run, planned.action) == (f"{SIGNATURE}-r1", Action.START)
    _run(tmp_path, State.FINISHED, name=planned.run)
    assert _plan(tmp_path).run == planned.run
    assert _plan(tmp_path, rerun=True).run == f"{SIGNATURE}-r2"


@pytest.mark.parametrize(
    ("state", "retry", "action"),
    [
        (State.INTERRUPTED, False, Action.RESUME),
        (State.FAILED, False, Action.KEEP_FAILED),
        (State.FAILED, True, Action.RESUME),
        (State.RUNNING, False, Action.LEAVE),
    ],
)
@pytest.mark.parametrize("rerun_of_finished", [False, True])
def test_rerun_of_a_run_that_is_not_finished_goes_on_with_it(
    tmp_path: Path, state: State, retry: bool, action: Action, rerun_of_finished: bool
) -> None:
    name = SIGNATURE
    if rerun_of_finished:
        _run(tmp_path, State.FINISHED)
        name = f"{SIGNATURE}-r1"
    _run(tmp_path, state, name=name)
    planned = _plan(tmp_path, rerun=True, retry=retry)
    assert (planned.run, planned.action) == (name, action)


@pytest.mark.parametrize("state", [State.FINISHED, State.INTERRUPTED])
def test_other_code_is_never_mixed_in_silently(tmp_path: Path, state: State) -> None:
    _run(tmp_path, state, code="then")
    with pytest.raises(CodeChanged, match=r"on_code_change: run 0123456789ab .* \(then, now now\)"):
        _plan(tmp_path)
    assert _plan(tmp_path, on_code_change="reuse").action in (Action.SKIP, Action.RESUME)
    assert _plan(tmp_path, on_code_change="rerun").run == f"{SIGNATURE}-r1"


def test_other_code_does_not_matter_where_nothing_was_made_with_it(tmp_path: Path) -> None:
    _run(tmp_path, State.INTERRUPTED, code="then", results=False)
    assert _plan(tmp_path).action == Action.RESUME


def test_all_runs_of_other_code_are_counted(tmp_path: Path) -> None:
    names = ["a" * 12, "b" * 12, "c" * 12]
    for name in names[:2]:
        _run(tmp_path, State.FINISHED, code="then", name=name)
    with pytest.raises(CodeChanged, match="and 1 more"):
        plan_all(Root(tmp_path), names, code="now", config=PLAIN, observe=read_status)


def test_running_is_true_while_the_process_lives(tmp_path: Path) -> None:
    folder = _run(tmp_path, State.RUNNING)
    with folder.worker_lock:
        assert observe(folder).state == State.RUNNING  # type: ignore[union-attr]
    seen = observe(folder)
    assert seen is not None
    assert (seen.state, seen.error) == (State.INTERRUPTED, "its process is gone")


def test_a_queue_is_worth_what_its_launcher_is(tmp_path: Path) -> None:
    folder = _run(tmp_path, State.QUEUED)
    status = read_status(folder)
    assert status is not None
    with alive_as_launcher(Root(tmp_path)) as launcher:
        replace(status, launcher=launcher).write(folder)
        assert observe(folder).state == State.QUEUED  # type: ignore[union-attr]
        replace(status, state=State.RUNNING, launcher=launcher).write(folder)
        # Between two attempts the process is gone, but the run is in its launcher's hands.
        assert observe(folder).state == State.QUEUED  # type: ignore[union-attr]
    assert observe(folder).state == State.INTERRUPTED  # type: ignore[union-attr]
    replace(status, launcher=launcher, attempts=0).write(folder)
    assert observe(folder).state == State.PREPARED  # type: ignore[union-attr]
    assert not list((tmp_path / "launchers").iterdir())


def test_a_torn_or_foreign_status_is_no_run(tmp_path: Path) -> None:
    assert read_status(RunFolder(tmp_path)) is None
    (tmp_path / "status.json").write_text('{"state": "runn')
    assert read_status(RunFolder(tmp_path)) is None


def test_crashes_in_a_row_without_progress_end_a_run(tmp_path: Path) -> None:
    folder = _run(tmp_path, State.RUNNING)  # its journal has step 3
    status = RunStatus(State.RUNNING, attempts=1, progress=0)
    first = record_crash(folder, status, "killed", restarts=1)
    assert (first.state, first.crashes) == (State.QUEUED, 1)
    second = record_crash(folder, replace(first, progress=3), "killed", restarts=1)
    assert (second.state, second.error) == (State.FAILED, "killed, 2 attempts in a row")
    # Had it got further than step 2, the count would have begun anew.
    further = record_crash(folder, replace(first, progress=2), "killed", restarts=1)
    assert (further.state, further.crashes) == (State.QUEUED, 1)
    assert record_crash(folder, status, "killed", restarts=0).error == "killed"


@pytest.mark.parametrize(
    ("error", "size", "lost"),
    [
        (RuntimeError("[/gloo/transport/tcp/pair.cc:553] Connection closed by peer"), 2, True),
        (RuntimeError("NCCL communicator was aborted"), 2, True),
        (RuntimeError("Connection reset by peer"), 1, False),
        (RuntimeError("shape mismatch"), 2, False),
        (ValueError("gloomy"), 2, False),
    ],
)
def test_an_error_of_the_connection_is_another_processs_end(
    monkeypatch: pytest.MonkeyPatch, error: Exception, size: int, lost: bool
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(size))
    assert is_lost_rank(error) == lost
