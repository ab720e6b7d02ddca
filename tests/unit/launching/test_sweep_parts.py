from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console, RenderableType

from webshop_rl.duration import time_left_s
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import ComposedRun
from webshop_rl.launching.launchers import StopRequests
from webshop_rl.launching.local import local_slots
from webshop_rl.launching.prepare import snapshot
from webshop_rl.launching.progress import Progress, read_progress
from webshop_rl.launching.sweep import (
    Listed,
    check_name,
    read_manifest,
    split_common,
    sweep_name,
    write_manifest,
)
from webshop_rl.launching.views import RunView, SweepTable, baselines, compare, duration, render, view_run
from webshop_rl.source import code_digest
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import RunStatus, State


def _hardware(**changes: object) -> SimpleNamespace:
    return SimpleNamespace(**{"device": "cpu", "threads": None, "max_parallel": None, **changes})


@pytest.mark.parametrize(
    ("cores", "hardware", "runs", "expected"),
    [
        (2, _hardware(), 4, [1, 1]),  # a core each
        (2, _hardware(), 1, [2]),  # alone it has both
        (16, _hardware(), 4, [4, 4, 4, 4]),
        (16, _hardware(threads=8), 4, [8, 8]),
        (16, _hardware(max_parallel=2), 4, [8, 8]),
        (2, _hardware(threads=4), 4, [4]),
        (2, _hardware(max_parallel=5), 9, [1] * 5),
    ],
)
def test_slots_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, hardware: SimpleNamespace, runs: int, expected: list[int]
) -> None:
    monkeypatch.setattr("webshop_rl.launching.local.cpu_cores", lambda: cores)
    slots = local_slots(hardware, runs)
    assert [slot.threads for slot in slots] == expected
    assert {slot.gpu for slot in slots} == {""}
    assert slots[0].environment()["OMP_NUM_THREADS"] == str(expected[0])


def test_each_gpu_goes_to_one_run_unless_they_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    for device in ("cuda", "auto"):
        slots = local_slots(_hardware(device=device), 5)
        assert [slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "3"]
    packed = local_slots(_hardware(device="cuda"), 5, pack=2)
    assert [slot.gpu for slot in packed] == ["0", "3", "0", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local_slots(_hardware(device="auto"), 1)[0].gpu == ""
    with pytest.raises(UserError, match="no GPU"):
        local_slots(_hardware(device="cuda"), 1)


def _run(signature: str, *overrides: str) -> ComposedRun:
    return ComposedRun(overrides, {}, {}, signature)


def test_the_same_runs_are_the_same_sweep() -> None:
    grid = [_run("a", "algo=apo_sft", "lr=5e-6", "seed=3"), _run("b", "algo=apo_pg", "lr=1e-5", "seed=3")]
    name = sweep_name(grid)
    assert name.startswith("algo-lr-")
    more = ("hardware=gpu", "retry=true", "root=x", "checkpoint.every=5")
    assert sweep_name([_run(run.signature, *more, *run.overrides) for run in reversed(grid)]) == name
    assert sweep_name(grid[:1]) != name
    assert sweep_name([_run("a", "checkpoint.every=1"), _run("a", "checkpoint.every=2")]).startswith("sweep-")
    assert sweep_name([_run("a", "+experiment=study", "seed=1")]).startswith("study-")
    assert check_name(sweep_name([_run("a")])) == sweep_name([_run("a")])


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 101])
def test_names_that_are_no_folders_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"sweep\.name"):
        check_name(name)


def test_overrides_split_into_common_and_own() -> None:
    common, own = split_common([["a=1", "b=1", "c=3"], ["a=1", "b=2", "c=3"]])
    assert common == ("a=1", "c=3")
    assert own == [("b=1",), ("b=2",)]
    assert split_common([["a=1"]]) == ((), [("a=1",)])


def test_a_manifest_keeps_what_earlier_launches_listed(tmp_path: Path) -> None:
    first = write_manifest(
        Root(tmp_path), "s", [Listed("aa", "aa", ("x=1",)), Listed("bb", "bb", ("x=2",))], ["y=1"]
    )
    assert read_manifest(Root(tmp_path), "s") == first
    second = write_manifest(
        Root(tmp_path), "s", [Listed("bb-r1", "bb", ("x=2",)), Listed("cc", "cc", ("x=3",))], []
    )
    assert [run.run for run in second.runs] == ["aa", "bb-r1", "cc"]
    assert second.created == first.created


def test_runs_that_newer_code_names_anew_are_listed_once_unless_they_began(tmp_path: Path) -> None:
    root = Root(tmp_path)
    old = [Listed(name, name, (f"x={x}",)) for x, name in enumerate(("never", "begun", "waiting", "other"))]
    write_manifest(root, "s", old, ["y=1"])
    RunStatus().start(update=0, worked_s=0.0).write(root.run("begun"))
    RunStatus().queue("launcher").write(root.run("waiting"))
    RunStatus().write(root.run("never"))
    new = [Listed(f"new{x}", f"new{x}", ("y=1", f"x={x}")) for x in range(3)]
    found = write_manifest(root, "s", new, [])
    assert [run.run for run in found.runs] == ["begun", "waiting", "other", "new0", "new1", "new2"]


def test_snapshot_is_a_copy_made_once(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "webshop_rl/room/__pycache__").mkdir(parents=True)
    (source / "webshop_rl/room/module.py").write_text("X = 1\n")
    (source / "webshop_rl/room/__pycache__/module.pyc").write_text("no code of ours")
    (source / "launch.py").write_text("pass\n")
    copied = snapshot(Root(tmp_path / "root"), source)
    assert copied == tmp_path / "root/code" / code_digest(source)
    assert sorted(str(p.relative_to(copied)) for p in copied.rglob("*") if p.is_file()) == [
        "launch.py", "webshop_rl/room/module.py",
    ]  # fmt: skip
    assert snapshot(Root(tmp_path / "root"), source) == copied
    code_digest.cache_clear()
    (source / "webshop_rl/room/module.py").write_text("X = 2\n")
    assert snapshot(Root(tmp_path / "root"), source) != copied
    assert (copied / "webshop_rl/room/module.py").read_text() == "X = 1\n"


def test_an_edit_during_the_copy_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    (source / "webshop_rl").mkdir(parents=True)
    (source / "webshop_rl/module.py").write_text("X = 1\n")
    code_digest(source)
    (source / "webshop_rl/module.py").write_text("X = 2\n")
    with pytest.raises(UserError, match="edited while"):
        snapshot(Root(tmp_path / "root"), source)
    assert not list((tmp_path / "root/code").iterdir())


def test_progress_is_read_from_the_end_of_the_journal(tmp_path: Path) -> None:
    assert read_progress(RunFolder(tmp_path)) == Progress()
    (tmp_path / "signature.json").write_text('{"fields": {"num_updates": 9}}')
    rows = [
        '{"kind":"metrics","ts_ms":1,"step":4,"metrics":{"val/success":0.5}}',
        '{"kind":"metrics","ts_ms":1,"step":7,"metrics":{"train/success":0.75}}',
        '{"kind":"metrics","ts_ms":1,"step":8,"metr',
    ]
    (tmp_path / "journal.jsonl").write_text("x" * 100_000 + "\n" + "\n".join(rows))
    progress = read_progress(RunFolder(tmp_path))
    assert progress == Progress(7, 9, 0.5)
    assert progress.text == "7/9"


def test_time_left_is_told_by_this_attempts_pace() -> None:
    assert time_left_s(10.0, 7, 5, 9) == 10.0  # two updates in 10 s, two to go
    assert time_left_s(10.0, 5, 5, 9) is None


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.6, "1m00s"), (185, "3m05s"), (7630, "2h07m")])
def test_durations_read_as_people_write_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_signals_of_a_closing_session_are_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("webshop_rl.launching.launchers.time.monotonic", lambda: now)
    with StopRequests() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        now += 0.29
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stop.count, stop.urgent, stop.exit_code) == (2, False, 129)
        now += 0.02
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.urgent
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    assert StopRequests().exit_code == 0


def _views(root: Path) -> list[RunView]:
    return [
        RunView(
            RunFolder(root / "a"),
            "lr=1",
            RunStatus(State.FINISHED, started=1.0, ended=61.0),
            Progress(9, 9, 1.0),
        ),
        RunView(
            RunFolder(root / "b"),
            "lr=2",
            RunStatus(State.FAILED, started=1.0, ended=2.0, error="boom"),
            Progress(3, 9, 0.5),
        ),
    ]


def test_without_a_terminal_each_change_of_state_is_a_line(tmp_path: Path) -> None:
    console = Console(width=80, record=True, force_terminal=False, file=open(os.devnull, "w"))  # noqa: SIM115
    with SweepTable("sweep s", console) as table:
        table.show(_views(tmp_path))
        table.show(_views(tmp_path))
    assert console.export_text().splitlines() == [
        "a lr=1 finished update 9/9 success 1.00 time 1m00s",
        "b lr=2 failed update 3/9 success 0.50 time 1s (boom)",
    ]


def test_brackets_in_overrides_and_errors_are_shown_as_they_are(tmp_path: Path) -> None:
    status = RunStatus(State.FAILED, started=1.0, ended=2.0, error="gloo [/pair.cc:553] closed")
    view = RunView(RunFolder(tmp_path / "aa"), "model.lora.target_modules=[q,v]", status, Progress())
    console = Console(width=120, record=True, markup=False, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(render([view], title="sweep [s]"))
    console.print(compare([view], title="sweep [s]"))
    text = console.export_text()
    assert text.count("model.lora.target_modules=[q,v]") == 2
    assert text.count("gloo [/pair.cc:553] closed") == 2


@pytest.mark.parametrize("key", ["policies", "arms"])  # the second in results of older runs
def test_the_comparison_shows_failures_and_each_baseline_once(tmp_path: Path, key: str) -> None:
    (tmp_path / "a").mkdir()
    means = '{"test": {"success": 0.5, "score": 0.75}, "untrained": {"success": 0.1, "score": 0.2},'
    means += ' "baseline/rule": {"success": 0.25, "score": 0.5}}'
    (tmp_path / "a/result.json").write_text(f'{{"objective": 0.75, "{key}": {means}}}')
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(compare(_views(tmp_path), title="sweep s"))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["lr=1", "finished", "0.500", "0.750", "1m00s"] in lines
    assert ["lr=2", "failed", "-", "-", "1s", "boom"] in lines
    assert "success" in lines[1]
    assert lines[1].count("test") == 2
    assert ["untrained", "0.100", "0.200"] in lines
    assert ["baseline/rule", "0.250", "0.500"] in lines


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        (["algo=a", "algo=b"], [0.5, 0.5], ["baseline/rule"]),
        (
            ["algo=a env=one", "algo=a env=two", "algo=b env=one", "algo=b env=two"],
            [0.5, 0.25, 0.5, 0.25],
            ["baseline/rule env=one", "baseline/rule env=two"],
        ),
        # Each of these runs has a seed of its own too, and a value that two shops have in common.
        (
            ["seed=0 env=one", "seed=1 env=two", "seed=2 env=three"],
            [0.5, 0.25, 0.5],
            ["baseline/rule env=one,three", "baseline/rule env=two"],
        ),
        # No key alone says it.
        (
            ["env.a=0 env.b=0", "env.a=0 env.b=1", "env.a=1 env.b=0"],
            [0.5, 0.25, 0.125],
            ["baseline/rule env.a=0 env.b=0", "baseline/rule env.a=0 env.b=1",
             "baseline/rule env.a=1 env.b=0"],
        ),
    ],
)  # fmt: skip
def test_baselines_of_several_shops_say_which(
    labels: list[str], scores: list[float], expected: list[str]
) -> None:
    results = [{"baseline/rule/success": score, "baseline/rule/score": score} for score in scores]
    rows = list(baselines(labels, results))
    assert [name for name, _, _ in rows] == expected
    assert [score for _, _, score in rows] == [f"{score:.3f}" for score in dict.fromkeys(scores)]


def test_arms_get_a_mean_with_its_interval_over_seeds(tmp_path: Path) -> None:
    scores = {"lr=1 seed=0": 0.25, "lr=1 seed=1": 0.75, "lr=2 seed=0": 0.5}
    views = []
    for number, (label, score) in enumerate(scores.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        means = f'{{"test": {{"success": 1.0, "score": {score}}}}}'
        (folder / "result.json").write_text(f'{{"objective": {score}, "policies": {means}}}')
        status = RunStatus(State.FINISHED, started=61.0, ended=91.0, earlier_s=30.0)
        views.append(RunView(RunFolder(folder), label, status, Progress(9, 9)))
    for width in (80, 120):
        lines = _shown(compare(views, title="sweep s", width=width), width)
        # Of two seeds the bootstrap draws both ends a quarter of the time: the interval is from end to end.
        (row,) = (line.split() for line in lines if "mean of" in line)
        assert row == ["lr=1", "mean", "of", "2", "1.000", "[1.000,", "1.000]", "0.500", "[0.250,", "0.750]"]
        assert any("95 % intervals over seeds" in line for line in lines)
        assert sum("1m00s" in line for line in lines) == 3  # both attempts


def test_a_run_that_ended_far_below_its_best_says_so_in_both_tables(tmp_path: Path) -> None:
    ending = {"fallen": "validation success 0.10, 0.90 before", "stopped": "", "restores": 2}
    notes = f"ended far below its best: {ending['fallen']}; went on from its best checkpoint 2 times"
    views = []
    for number, said in enumerate((ending, {"fallen": "", "stopped": "", "restores": 0}, {})):
        run = RunFolder(tmp_path / str(number))
        run.path.mkdir()
        RunStatus(State.FINISHED, started=61.0, ended=91.0).write(run)
        run.result.write_text(json.dumps({"objective": 0.5, "policies": {}, **said}))
        views.append(view_run(run, f"seed={number}", None))
    assert [view.note for view in views] == [notes, "", ""]
    for table in (compare(views, title="sweep s", width=200), render(views, title="sweep s", width=200)):
        (line,) = [line for line in _shown(table, 250) if "below its best" in line]
        assert "seed=0" in line
        assert notes in line
    (below,) = [line for line in _shown(render(views, title="s", width=80), 200) if "below its best" in line]
    assert below.startswith("0: ended far")


def test_eighty_columns_are_enough_for_the_table_of_a_sweep() -> None:
    error = "ValueError: the hidden size (128) is not a multiple of the number of attention heads (3)"
    status = RunStatus(State.FAILED, started=1.0, ended=3000.0, error=error)
    label = "algo=apo_sft model.num_layers=3 env.distractors=4"
    view = RunView(
        RunFolder(Path("210ace02b9fc")), label, status, Progress(123, 1000, 0.5), place="48_12 node-17"
    )
    lines = _shown(render([view], title="sweep s", width=80), 80)
    assert all(len(line.rstrip()) <= 80 for line in lines)
    (row,) = (line for line in lines if "123/1000" in line)
    assert "failed" in row
    assert "49m59s" in row
    below = " ".join(line.strip() for line in lines[lines.index(row) + 1 :])
    assert f"210ace02b9fc: {error}" in below


def _shown(table: RenderableType, width: int) -> list[str]:
    console = Console(width=width, record=True, markup=False, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text().splitlines()
