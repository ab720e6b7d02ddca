from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.hardware_parts import asking, hardware
from webshop_rl.config.groups import SweepConfig
from webshop_rl.errors import UserError
from webshop_rl.launching.dry_run import estimate
from webshop_rl.launching.reconcile import observe, settle
from webshop_rl.launching.slurm.commands import JobsWatch
from webshop_rl.launching.slurm.jobs import Job, Jobs, is_away, job_id_of, minutes, note_job, parse_squeue
from webshop_rl.launching.slurm.queue import split
from webshop_rl.launching.slurm.submit import sbatch_parameters, waiting_for
from webshop_rl.launching.sweep import check_request, resolve_executor
from webshop_rl.models.shape import Shape, model_shape
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import RunStatus, State, read_status

HARDWARE = asking(
    hardware("slurm_gpu"),
    time="1-12:30:00",
    partition="gpu",
    setup=["module load cuda"],
    container="apptainer exec image.sif",
    python="/opt/python",
    sbatch={"constraint": "h100"},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("10:30", 11), ("04:00:00", 240), ("1-12:30:00", 2190), ("2-00", 2880), ("1-01:30", 1530)],
)
def test_time_limits_are_read_as_slurm_reads_them(text: str, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "4h", "1:2:3:4", "one"])
def test_other_time_limits_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"hardware\.slurm\.time"):
        minutes(text)


@pytest.mark.parametrize(
    ("changed", "executor", "key"),
    [
        ({"time": "abc"}, "local", "hardware.slurm.time"),
        ({"mem": "lots"}, "slurm", "hardware.slurm.mem"),
        ({"mem": "-1G"}, "slurm", "hardware.slurm.mem"),
        ({"tasks_per_node": 2}, "local", "hardware.slurm.tasks_per_node"),
        ({"nodes": 2}, "local", "hardware.slurm.nodes"),
    ],
)
def test_what_nobody_can_give_is_refused(changed: dict[str, Any], executor: str, key: str) -> None:
    check_request(HARDWARE, executor)
    with pytest.raises(UserError, match=rf"^{key}: "):
        check_request(asking(HARDWARE, **changed), executor)


def test_slurm_gives_several_processes_and_memory_in_its_notation() -> None:
    for mem in (None, "0", "4000", "500M", "2T", "32gb"):
        check_request(asking(HARDWARE, mem=mem, nodes=2, tasks_per_node=4), "slurm")


def _runs(count: int) -> list[RunFolder]:
    return [RunFolder(Path(f"r{k}")) for k in range(count)]


def test_arrays_are_as_few_as_the_cluster_allows() -> None:
    arrays = split(_runs(7), HARDWARE, pack=1, largest=3)
    assert [len(a.jobs) for a in arrays] == [3, 3, 1]
    assert [a.parallelism for a in arrays] == [3, 3, 1]
    limited = split(_runs(7), asking(HARDWARE, array_parallelism=4), pack=2, largest=3)
    # 7 runs, two a job: 4 jobs in arrays of 3 and 1, which share the limit of 4.
    assert [[len(job) for job in a.jobs] for a in limited] == [[2, 2, 2], [1]]
    assert [(a.parallelism, a.after) for a in limited] == [(2, None), (2, None)]
    # Two jobs at once, three arrays: the third starts when the first has ended.
    narrow = split(_runs(7), asking(HARDWARE, array_parallelism=2), pack=1, largest=3)
    assert [(a.parallelism, a.after) for a in narrow] == [(1, None), (1, None), (1, 0)]


def test_jobs_wait_for_another_besides_what_the_user_has_them_wait_for() -> None:
    parameters = {"time": 5, "additional_parameters": {"requeue": True}}
    assert waiting_for(parameters, None) == parameters
    assert waiting_for(parameters, "7")["additional_parameters"] == {
        "requeue": True,
        "dependency": "afterany:7",
    }
    own = {"additional_parameters": {"dependency": "afterok:3"}}
    assert waiting_for(own, "7")["additional_parameters"] == {"dependency": "afterok:3,afterany:7"}


def test_sbatch_is_told_what_the_hardware_file_says() -> None:
    parameters = sbatch_parameters(HARDWARE, name="s", code=Path("/code dir"), folder=Path("/f"), pack=2)
    chosen = {key: parameters[key] for key in ("partition", "mem", "time", "cpus_per_task", "gpus_per_node")}
    assert chosen == {
        "partition": "gpu", "mem": "32G", "time": 2190, "cpus_per_task": 8, "gpus_per_node": 1,
    }  # fmt: skip
    assert "account" not in parameters
    assert parameters["additional_parameters"] == {"requeue": True, "constraint": "h100"}
    assert parameters["setup"][0] == "module load cuda"
    assert parameters["setup"][-1] == "cd '/code dir' || exit 1"
    assert "export OMP_NUM_THREADS=4" in parameters["setup"]
    assert any(
        "apptainer exec image.sif /opt/python -m webshop_rl.launching.slurm.job /f $code" in line
        for line in parameters["teardown"]
    )
    with pytest.raises(UserError, match=r"sweep\.pack"):
        sbatch_parameters(asking(HARDWARE, tasks_per_node=2), name="s", code=Path(), folder=Path(), pack=2)


def test_squeue_is_read() -> None:
    text = (
        "12_3|RUNNING|n1|3:59:01|2026-01-02T10:00:00|None\n"
        "13|PENDING||4:00:00|N/A|launch failed requeued held\n"
        "14|FAILED|n2|3:00:00|2026-01-02T03:04:05|NonZeroExitCode\n"
    )
    jobs = parse_squeue(text)
    assert jobs["12_3"] == Job("RUNNING", "n1", "3:59:01")
    assert (jobs["13"].waits, jobs["13"].held, jobs["13"].over) == (True, True, False)
    assert jobs["14"].over
    assert jobs["14"].ended == time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))


def test_states_that_slurm_may_take_back_count_only_after_a_while() -> None:
    assert not Job("NODE_FAIL", ended=1000.0, seen=1005.0).over
    assert Job("NODE_FAIL", ended=1000.0, seen=1100.0).over


def test_an_unknown_job_is_over_and_a_silent_controller_says_nothing() -> None:
    gone = Jobs({}).get("1")
    assert gone is not None
    assert gone.over
    assert Jobs(None).get("1") is None
    # Asked before the job was submitted: that squeue did not name it says nothing.
    assert Jobs({"1": Job("PENDING")}, asked=100.0).get("1", submitted=99.0) == Job("PENDING")
    assert Jobs({}, asked=100.0).get("1", submitted=101.0) is None


@pytest.mark.parametrize(
    ("problem", "away"),
    [
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", True),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("sbatch: error: invalid partition specified: nonsense", False),
        ("squeue: fatal: Could not establish a configuration source", False),
        ("", False),
    ],
)
def test_a_controller_that_is_away_is_told_from_one_that_refuses(problem: str, away: bool) -> None:
    assert is_away(problem) == away
    assert Jobs(None, problem=problem).away == away
    assert not Jobs({}, problem=problem).away


def test_the_last_answer_stands_while_the_controller_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [Jobs({"1": Job("RUNNING")}), Jobs(None)]
    monkeypatch.setattr("webshop_rl.launching.slurm.commands.query_jobs", lambda: answers.pop(0))
    monkeypatch.setattr("webshop_rl.launching.slurm.commands._POLL_MIN_S", 0.0)
    watch = JobsWatch()
    assert [watch.latest().get("1"), watch.latest().get("1")] == [Job("RUNNING")] * 2
    assert not answers


@pytest.mark.parametrize(
    ("status", "job", "expected"),
    [
        (RunStatus(State.QUEUED), Job("PENDING"), State.QUEUED),
        (RunStatus(State.RUNNING, attempts=1), Job("PENDING"), State.PREEMPTED),
        (RunStatus(State.INTERRUPTED, attempts=1), Job("PENDING"), State.PREEMPTED),
        (RunStatus(State.INTERRUPTED, attempts=1), Job("COMPLETING"), State.PREEMPTED),
        (RunStatus(State.RUNNING, attempts=1), Job("RUNNING"), State.RUNNING),
        (RunStatus(State.RUNNING, attempts=1), Job("CANCELLED"), State.INTERRUPTED),
        (RunStatus(State.QUEUED), Job("CANCELLED"), State.PREPARED),
        (RunStatus(State.RUNNING, attempts=1), Job("TIMEOUT"), State.INTERRUPTED),
        (RunStatus(State.RUNNING, attempts=1), Job("FAILED"), State.FAILED),
        (RunStatus(State.QUEUED), Job("FAILED"), State.FAILED),
        (RunStatus(State.RUNNING, attempts=1), Job("OUT_OF_MEMORY"), State.FAILED),
        (RunStatus(State.RUNNING, attempts=1), Job("NODE_FAIL", ended=1.0, seen=62.0), State.INTERRUPTED),
        (RunStatus(State.RUNNING, attempts=1), Job("NODE_FAIL", ended=1.0, seen=60.0), State.RUNNING),
        (RunStatus(State.FINISHED, attempts=1), Job("FAILED"), State.FINISHED),
        # Its script was killed, and it saved itself at Slurm's SIGTERM, which nobody had asked for.
        (RunStatus(State.INTERRUPTED, attempts=1), Job("FAILED"), State.FAILED),
        (RunStatus(State.INTERRUPTED, attempts=1), Job("COMPLETED"), State.INTERRUPTED),
        (RunStatus(State.RUNNING, attempts=1), Job(""), State.INTERRUPTED),
        (RunStatus(State.QUEUED), Job(""), State.PREPARED),
        (RunStatus(State.RUNNING, attempts=1), None, State.RUNNING),
    ],
)
def test_a_runs_state_is_what_its_job_makes_of_it(
    tmp_path: Path, status: RunStatus, job: Job | None, expected: State
) -> None:
    folder = Root(tmp_path).run("r")
    folder.path.mkdir(parents=True)
    status.write(folder)
    note_job(folder, "7", tmp_path)
    seen = observe(folder, Jobs(None if job is None else {"7": job}))
    assert seen is not None
    assert seen.state == expected
    settled = settle(folder, seen)
    assert settled == (expected in (State.FAILED, State.INTERRUPTED) and seen != status)
    assert read_status(folder) == status or settled


def test_parameters_are_counted_as_published() -> None:
    # Qwen2.5-0.5B: 0.49 B parameters, 0.36 B without the embedding; 3 B: 3.09 B and 2.77 B.
    small, large = (
        model_shape({"name": "qwen2_5_0_5b"}),
        model_shape({"name": "x", "path": "Qwen/Qwen2.5-3B-Instruct"}),
    )
    assert small is not None
    assert large is not None
    assert small.parameters == pytest.approx(0.494e9, rel=0.02)
    assert large.parameters == pytest.approx(3.09e9, rel=0.02)
    assert large.layers * large.layer_parameters == pytest.approx(2.77e9, rel=0.02)
    # Rank 16 on all linear layers of the 3 B model: 36 layers x 16 x (2 x 4096 + 2 x 2304 + 3 x 13056).
    assert large.adapter_parameters(16) == 36 * 16 * (8192 + 4608 + 39168)


def test_memory_by_hand() -> None:
    config = {
        "model": {
            "name": "tiny", "hidden_size": 10, "num_layers": 2, "max_vocabulary": 100, "dtype": "float32",
            "gradient_checkpointing": False, "context_tokens": 50, "lora": {"enabled": False, "rank": 1},
        },
        "rollout": {"batch_size": 4, "engine": "native"},
        "optim": {"micro_batch_tokens": 1000},
    }  # fmt: skip
    shape = Shape(2, 10, 20, 10, 100)
    assert shape.parameters == 2 * (4 * 100 + 3 * 200) + 1000  # 3000
    # Weights and reference 2 x 3000 x 4; trained 3 x 3000 x 4; activations 1000 x 2 x (120 + 60) x 4;
    # logits 250 x 100 x 8.
    expected = 24_000 + 36_000 + 1_440_000 + 200_000 + 0.8e9
    needs = estimate(config)
    assert needs.gpu_gb == pytest.approx(expected / 1e9)
    assert needs.disk_gb == pytest.approx(9 * 3000 * 4 / 1e9)


def test_an_unknown_model_is_not_guessed() -> None:
    assert model_shape({"name": "mystery", "path": "some/model"}) is None


@pytest.mark.parametrize(
    ("asked", "sbatch", "chosen"),
    [("auto", True, "slurm"), ("auto", False, "local"), ("slurm", True, "slurm"), ("local", True, "local")],
)
def test_auto_takes_slurm_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, sbatch: bool, chosen: str
) -> None:
    if sbatch:
        (tmp_path / "sbatch").write_text("#!/bin/sh\n")
        (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    sweep = SweepConfig(name=None, wait=True, dry_run=False, on_interrupt="ask", pack=1, refresh_s=1.0)
    assert resolve_executor(replace(HARDWARE, executor=asked), sweep) == chosen


def test_the_job_of_the_original_does_not_hold_a_copy(tmp_path: Path) -> None:
    root = tmp_path / "root"
    note_job(Root(root).run("a"), "7", root / "sweeps" / "s" / "jobs")
    assert job_id_of(Root(root).run("a")) == "7"
    shutil.copytree(root, tmp_path / "copy")
    assert job_id_of(Root(tmp_path / "copy").run("a")) == ""
