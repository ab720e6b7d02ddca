"""What a cluster does to jobs: each run goes on where it was, and no update is lost or executed twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.slurm_commands import (
    ON_SLURM,
    Cluster,
    attempts,
    has_begun,
    job_ids,
    node_of,
    process_of,
    read_until,
    slurm_command,
    slurm_states,
    start_controller,
    stop_controller,
    updates,
)
from tests.support.sweep_command import Command, alive, read, wait_until

UPDATES = 12
# With five cores a run, three share a node of sixteen, and the seventh has one to itself.
SPREAD = ("hardware.slurm.cpus=5", "seed=range(1,8)", f"num_updates={UPDATES}")


@pytest.fixture(scope="module")
def struck(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Command, dict[str, int]]:
    """A sweep that went through one fault on each of some runs; their seeds by the fault."""
    command = Command(
        tmp_path_factory.mktemp("struck") / "runs", **{f"s{seed}": "slow" for seed in range(1, 8)}
    )
    launcher = command.start(*ON_SLURM, *SPREAD)
    wait_until(has_begun(command, *range(1, 8)))
    jobs = job_ids(command)
    nodes: dict[str, list[int]] = {}
    for seed, job_id in jobs.items():
        nodes.setdefault(node_of(job_id), []).append(seed)
    # The jobs of other tests may have taken the first node's cores.
    by_runs = sorted(nodes.items(), key=lambda node: -len(node[1]))
    (_, single), (preempting, taken), (failing, lost) = by_runs
    slurm_command("scontrol", "requeue", jobs[single[0]])
    slurm_command("scancel", "--signal=USR2", jobs[single[1]])
    slurm_command("scancel", "--full", "--signal=USR2", jobs[single[2]])
    slurm_command(
        "sbatch", "-p", "high", "--exclusive", "-w", preempting, "-o", "/dev/null", "--wrap", "sleep 2"
    )
    slurm_command("scontrol", "update", f"nodename={failing}", "state=down", "reason=test")
    pids = [read(command.runs()[seed] / "status.json")["pid"] for seed in lost]
    wait_until(lambda: not any(map(alive, pids)))
    slurm_command("scontrol", "update", f"nodename={failing}", "state=resume", check=False)
    output, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, output
    hit = {"requeue": single[0], "usr2": single[1], "usr2 in full": single[2]}
    return command, hit | {"preempt": taken[0], "node": lost[0]}


@pytest.mark.parametrize("fault", ["requeue", "usr2", "usr2 in full", "preempt", "node"])
def test_a_run_goes_on_where_it_was(struck: tuple[Command, dict[str, int]], fault: str) -> None:
    command, seeds = struck
    folder = command.runs()[seeds[fault]]
    assert read(folder / "status.json")["state"] == "finished"
    assert updates(folder) == list(range(1, UPDATES + 1))
    assert attempts(command)[seeds[fault]] == 2


@pytest.fixture(scope="module")
def shot(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Command, dict[str, int]]:
    """A sweep in whose jobs one process each was killed; their seeds by what that process was."""
    parts = {"run": 1, "srun": 2, "script": 3, "step": 4}
    command = Command(tmp_path_factory.mktemp("shot") / "runs", **{f"s{k}": "slow" for k in parts.values()})
    launcher = command.start(*ON_SLURM, "seed=1,2,3,4", f"num_updates={UPDATES}")
    wait_until(has_begun(command, *parts.values()))
    jobs = job_ids(command)
    for part, seed in parts.items():
        os.kill(process_of(jobs[seed], part), signal.SIGKILL)
    output, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, output
    return command, parts


@pytest.mark.parametrize("part", ["run", "srun", "script", "step"])
def test_a_run_goes_on_whatever_part_of_its_job_is_killed(
    shot: tuple[Command, dict[str, int]], part: str
) -> None:
    command, seeds = shot
    folder = command.runs()[seeds[part]]
    assert read(folder / "status.json")["state"] == "finished"
    assert updates(folder) == list(range(1, UPDATES + 1))
    # Without the process that looks after it, the run itself goes on; its job does not know when it ends.
    assert attempts(command)[seeds[part]] == (1 if part == "step" else 2)
    assert part == "step" or slurm_states(command)[seeds[part]] == "COMPLETED"


def test_the_controller_is_waited_for(tmp_path: Path) -> None:
    """Away while a sweep is submitted, while it runs, and while a run dies."""
    command = Command(tmp_path / "runs", s1="slow", s2="slow")
    stop_controller()
    launcher = command.start(*ON_SLURM, "seed=1,2", f"num_updates={UPDATES}")
    read_until(launcher, "waiting for Slurm's controller, Ctrl-C gives up: slurm_load_jobs error: Unable")
    start_controller()
    wait_until(has_begun(command, 1, 2))
    victim = process_of(job_ids(command)[1], "run")
    stop_controller()
    os.kill(victim, signal.SIGKILL)
    read_until(launcher, "waiting for Slurm's controller: slurm_load_jobs error: Unable")
    start_controller()
    output, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, output
    assert command.states() == {1: "finished", 2: "finished"}
    assert attempts(command) == {1: 2, 2: 1}
    assert all(updates(folder) == list(range(1, UPDATES + 1)) for folder in command.runs().values())


def test_at_its_time_limit_and_without_a_warning_before_a_preemption(
    tmp_path: Path, cluster: Cluster
) -> None:
    """Slurm looks at time limits twice a minute, and signals up to a minute early."""
    cluster(CONTROLLER_PARAMETERS="idle_on_node_suspend")  # without preempt_send_user_signal
    limited, preempted = Command(tmp_path / "limited", s1="hold"), Command(tmp_path / "preempted", s1="slow")
    long = limited.start(*ON_SLURM, "seed=1", "hardware.slurm.time=2", "hardware.slurm.signal_s=90")
    launcher = preempted.start(*ON_SLURM, "seed=1", f"num_updates={UPDATES}")
    wait_until(has_begun(preempted, 1))
    node = node_of(job_ids(preempted)[1])
    wait_until(has_begun(limited, 1))
    slurm_command("sbatch", "-p", "high", "--exclusive", "-w", node, "-o", "/dev/null", "--wrap", "sleep 2")
    output, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, output
    assert updates(preempted.runs()[1]) == list(range(1, UPDATES + 1))
    assert attempts(preempted)[1] == 2
    wait_until(lambda: attempts(limited)[1] >= 3, timeout_s=120)  # preempted, too, and at its limit
    limited.let_go()
    output, _ = long.communicate(timeout=120)
    assert long.returncode == 0, output
    assert updates(limited.runs()[1]) == [1, 2, 3, 4]


def test_a_packed_job_saves_all_its_runs_when_it_is_requeued(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="slow", s2="slow")
    launcher = command.start(*ON_SLURM, "sweep.pack=2", "seed=1,2,3", "num_updates=10")
    wait_until(has_begun(command, 1, 2))
    slurm_command("scancel", "--signal=USR2", job_ids(command)[1])
    output, _ = launcher.communicate(timeout=180)
    assert launcher.returncode == 0, output
    assert attempts(command) == {1: 2, 2: 2, 3: 1}
    assert all(updates(folder) == list(range(1, 11)) for folder in command.runs().values())


def test_the_processes_of_a_run_know_each_other_and_fall_together(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s2="peer_raise", s3="peer_kill_once")
    code, output = command.run(
        *ON_SLURM, "hardware.slurm.tasks_per_node=2", "seed=1,2,3", "num_updates=6", timeout_s=240
    )
    assert code == 1, output
    assert command.states() == {1: "finished", 2: "failed", 3: "finished"}
    tries = command.attempts()
    assert tries[1][0]["world"][:3] == ["2", "0", "0"]
    assert str(tries[1][0]["world"][3]).startswith("n")
    error = read(command.runs()[2] / "status.json")["error"]
    assert error == "process 1: ValueError: the shop is closed and a second line"
    wait_until(lambda: slurm_states(command)[2] == "FAILED")
    # One process was killed; the other saved the run, which Slurm started again.
    assert len(tries[3]) == 2
    assert updates(command.runs()[3]) == list(range(1, 7))
