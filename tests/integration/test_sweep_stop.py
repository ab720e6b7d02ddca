"""The launcher is stopped or killed: its runs save themselves, resume later, and none is left over."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.sweep_command import Command, alive, end, read, wait_until


def _pids(command: Command) -> list[int]:
    return [attempt["pid"] for tries in command.attempts().values() for attempt in tries]


def _one_has_begun(command: Command) -> bool:
    return any((folder / "updates.log").exists() for folder in command.runs().values())


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_runs_resume_where_they_were(tmp_path: Path, signum: signal.Signals) -> None:
    command = Command(tmp_path / "runs", s1="hold", s2="hold", s3="hold")
    launcher = command.start("-m", "seed=1,2,3")
    wait_until(lambda: _one_has_begun(command))
    code, output = end(launcher, signum)
    assert code == 128 + signum, output
    assert not any(alive(pid) for pid in _pids(command))
    assert set(command.states().values()) <= {"interrupted", "prepared"}
    assert "Traceback" not in output
    assert "give the same command again to resume" in output
    assert "it goes on" not in output
    done = {seed: len(_updates(folder)) for seed, folder in command.runs().items()}

    again = Command(tmp_path / "runs")
    code, output = again.run("-m", "seed=1,2,3")
    assert code == 0, output
    assert "resume" in output
    assert any(done.values())
    for folder in again.runs().values():
        assert _updates(folder) == ["1", "2", "3", "4"]


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="deaf")
    launcher = command.start("-m", "seed=1", "num_updates=100")
    wait_until(lambda: _one_has_begun(command))
    launcher.send_signal(signal.SIGINT)
    with pytest.raises(AssertionError, match="in vain"):
        wait_until(lambda: launcher.poll() is not None, timeout_s=1.5)
    code, output = end(launcher, signal.SIGINT)
    assert code == 130, output
    assert not any(alive(pid) for pid in _pids(command))
    assert command.states() == {1: "interrupted"}


def test_runs_end_with_a_killed_launcher_and_the_same_command_takes_over(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold", s2="hold", s3="hold")
    launcher = command.start("-m", "seed=1,2,3")
    wait_until(lambda: _one_has_begun(command))
    end(launcher, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in _pids(command)))
    again = Command(tmp_path / "runs")
    code, output = again.run("-m", "seed=1,2,3")
    assert code == 0, output
    assert again.states() == {1: "finished", 2: "finished", 3: "finished"}
    for folder in again.runs().values():
        assert _updates(folder) == ["1", "2", "3", "4"]


def test_a_second_launcher_leaves_alone_what_the_first_has(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold", s2="hold", s3="hold")
    first = command.start("-m", "seed=1,2,3")
    wait_until(lambda: _one_has_begun(command))
    second = command.start("-m", "seed=1,2,3,4")
    wait_until(lambda: command.states().get(4) == "finished")
    command.let_go()
    output, _ = second.communicate(timeout=90)
    assert second.returncode == 0, output
    assert "3 leave alone, 1 start" in output
    assert first.wait(timeout=90) == 0
    assert {seed: len(tries) for seed, tries in command.attempts().items()} == {1: 1, 2: 1, 3: 1, 4: 1}


def test_ctrl_c_on_a_sweep_that_only_waits_leaves_the_run_of_another_alone(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold")
    first = command.start("-m", "seed=1")
    wait_until(lambda: _one_has_begun(command))
    second = command.start("-m", "seed=1")
    wait_until(lambda: _prints(second, "1 leave alone"))
    second.send_signal(signal.SIGINT)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 130, output
    assert "left alone, still going: 1 of 1 run" in output
    assert "save themselves" not in output
    command.let_go()
    assert first.wait(timeout=90) == 0


def test_a_single_run_is_a_run_like_those_of_a_sweep(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold")
    single = command.start("seed=1")
    wait_until(lambda: _one_has_begun(command))
    other = command.start("seed=1")
    wait_until(lambda: _waits(other))
    code, output = end(single, signal.SIGTERM)
    assert code == 143, output
    output, _ = other.communicate(timeout=60)
    assert other.returncode == 1
    assert "stopped by SIGTERM" in output  # what the other prints is shown
    assert "interrupted" in output
    assert command.states() == {1: "interrupted"}
    killed = command.start("seed=1")
    wait_until(lambda: len(command.attempts()[1]) == 2)
    killed.kill()
    killed.wait()
    code, output = Command(tmp_path / "runs").run("seed=1")
    assert code == 0, output
    assert "resumes" in output
    assert _updates(command.runs()[1]) == ["1", "2", "3", "4"]
    assert read(command.runs()[1] / "status.json")["earlier_s"] > 0
    code, output = command.run("-m", "seed=1")
    assert "1 skip" in output
    code, output = command.run("seed=1")
    assert code == 0, output
    assert "is finished" in output
    command.let_go()
    code, output = command.run("seed=1", "rerun=true")
    assert code == 0, output
    assert sorted(p.name for p in (tmp_path / "runs/runs").iterdir())[1].endswith("-r1")


def test_the_same_single_run_twice_at_once_is_executed_once(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold")
    first = command.start("seed=1")
    wait_until(lambda: _one_has_begun(command))
    second, third = command.start("seed=1"), command.start("seed=1")
    for process in (second, third):
        wait_until(lambda process=process: _waits(process))
    assert end(third, signal.SIGINT)[0] == 130  # it goes, the others stay
    assert first.poll() is None
    command.let_go()
    output, _ = second.communicate(timeout=60)
    assert (first.wait(timeout=60), second.returncode) == (0, 0), output
    assert "is finished" in output
    assert len(command.attempts()[1]) == 1


def _waits(process: subprocess.Popen[str]) -> bool:
    """Reads on until the command says that it waits."""
    return _prints(process, "waiting for it")


def _prints(process: subprocess.Popen[str], words: str) -> bool:
    assert process.stdout is not None
    return words in process.stdout.readline()


def test_a_failed_single_run_says_so_and_waits_for_retry(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="raise")
    code, output = command.run("seed=1")
    assert code == 1, output
    assert output.count("the shop is closed") >= 1
    code, output = command.run("seed=1")
    assert code == 2, output
    assert (
        "failed before: ValueError: the shop is closed and a second line (retry=true runs it again)" in output
    )
    assert read(command.runs()[1] / "status.json")["attempts"] == 1
    assert Command(tmp_path / "runs").run("seed=1", "retry=true")[0] == 0


def _updates(folder: Path) -> list[str]:
    log = folder / "updates.log"
    return log.read_text().split() if log.exists() else []
