"""What becomes of an error of a command: one line and an exit code."""

from __future__ import annotations

import argparse
import errno
import importlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from webshop_rl.cli import command, disk_full
from webshop_rl.errors import UserError
from webshop_rl.launching import worker
from webshop_rl.launching.worker import RunFailed, execute, one_line
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.run_status import RunStatus, State, read_status


def raising(error: BaseException) -> int:
    """Exit code of a command that raises the error."""

    @command
    def main() -> int:
        raise error

    return main()


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("is empty", where="root", remedy="give it"), 2, "error: root: is empty (give it)"),
        (KeyboardInterrupt(), 130, "stopped"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            2,
            "error: /x/y: no space left to write (make room; the same command goes on)",
        ),
    ],
)
def test_an_error_is_one_line_and_a_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == code
    assert capsys.readouterr().err == f"{line}\n"


COMMANDS = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for room in ("webshop_rl", "analysis")
    for path in (REPOSITORY / room).rglob("*.py")
    if "argparse.ArgumentParser(" in path.read_text()
)


@pytest.mark.parametrize("module", [*COMMANDS, "webshop_rl.__main__", "benchmarks.env_speed"])
def test_every_command_ends_in_one_line(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(*_: object, **__: object) -> None:
        raise errors.pop()

    errors: list[BaseException] = [KeyboardInterrupt(), UserError("is empty", where="root")]
    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, parse)
    words = ["report"] if module == "webshop_rl.__main__" else []
    main = importlib.import_module(module).main
    assert main(words) == 2
    assert main(words) == 130
    assert capsys.readouterr().err == "error: root: is empty\nstopped\n"


def test_an_error_of_ours_keeps_its_traceback_and_an_exit_its_code() -> None:
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())
    with pytest.raises(SystemExit) as ended:
        raising(SystemExit(3))
    assert ended.value.code == 3


def test_a_full_disk_is_known_behind_an_error_of_a_library() -> None:
    error = RuntimeError("PytorchStreamWriter failed writing file data/1")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert disk_full(error) is not None
    assert disk_full(RuntimeError("another")) is None


def test_the_reason_on_the_second_line_is_kept() -> None:
    error = ValueError("Class validation error for validator 'x':\n    ValueError: 3 heads\n  do not fit")
    assert (
        one_line(error)
        == "ValueError: Class validation error for validator 'x': ValueError: 3 heads do not fit"
    )
    assert one_line(ValueError("a" * 5000 + " the reason")).endswith("the reason")
    assert len(one_line(ValueError("a" * 5000))) < 700


def damaged(folder: Path) -> float:
    """A run's entry: what reading a damaged journal raises."""
    raise UserError("line 3 is damaged", where="journal.jsonl", remedy="remove it")


def full(folder: Path) -> float:
    """A run's entry on a full disk."""
    raise OSError(errno.ENOSPC, "No space left on device", str(folder / "x"))


@pytest.mark.parametrize(
    ("entry", "state", "line"),
    [
        ("damaged", State.FAILED, "error: journal.jsonl: line 3 is damaged (remove it)"),
        (
            "full",
            State.INTERRUPTED,
            "error: {}/x: no space left to write (make room; the same command goes on)",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line_of_a_run(
    tmp_path: Path,
    entry: str,
    state: State,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "train", globals()[entry])
    RunStatus().write(RunFolder(tmp_path))
    with pytest.raises(RunFailed):
        execute(RunFolder(tmp_path))
    assert capsys.readouterr().err == line.format(tmp_path) + "\n"
    status = read_status(RunFolder(tmp_path))
    assert status is not None
    assert (status.state, f"error: {status.error}") == (state, line.format(tmp_path))


def test_ctrl_c_while_launch_py_loads_is_no_traceback(tmp_path: Path) -> None:
    code = "import time, sys; sys.argv = ['launch.py']; import webshop_rl.cli as c, runpy, builtins\n"
    code += "load = builtins.__import__\n"
    code += "def slow(name, *rest):\n"
    code += "    if name == 'hydra': print('loading', flush=True); time.sleep(30)\n"
    code += "    return load(name, *rest)\n"
    code += "builtins.__import__ = slow\n"
    code += "runpy.run_path('launch.py', run_name='__main__')\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (130, "stopped\n")
