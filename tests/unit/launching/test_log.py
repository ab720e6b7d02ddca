"""What a log keeps of what is printed."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from webshop_rl.launching.log import LogLines, logged, unstamped
from webshop_rl.launching.progress import last_line
from webshop_rl.storage.folders import RunFolder


def test_lines_get_the_time_and_the_screen_gets_what_was_printed() -> None:
    log, screen = io.StringIO(), io.StringIO()
    stream = LogLines(log, screen)
    print("one\ntwo", end="", file=stream)
    print(", more", file=stream)
    assert screen.getvalue() == "one\ntwo, more\n"
    lines = log.getvalue().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w", line) for line in lines)
    assert [unstamped(line) for line in lines] == ["one", "two, more"]
    assert unstamped("2026 is no time") == "2026 is no time"


def test_of_a_progress_bar_the_last_state_stays() -> None:
    log = io.StringIO()
    console = Console(file=LogLines(log), force_terminal=True, width=80)
    with Progress("{task.description} {task.completed}", console=console) as bar:
        task = bar.add_task("update")
        for step in range(1, 4):
            bar.update(task, completed=step, refresh=True)
            if step == 2:
                console.print("a line above it")
    assert [unstamped(line) for line in log.getvalue().splitlines()] == ["a line above it", "update 3"]


def test_a_run_is_logged_attempt_by_attempt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("first", "second"):
        with logged(RunFolder(tmp_path), screen=word == "second"):
            print(word)
            print("oh", file=sys.stderr)
    assert capsys.readouterr() == ("second\n", "oh\n")
    words = [unstamped(line).split(" on ")[0] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert words == ["attempt 1", "first", "oh", "attempt 1", "second", "oh"]
    assert last_line(tmp_path / "log.txt") == "oh"


def test_a_full_disk_fails_no_run(tmp_path: Path) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")
    with logged(RunFolder(tmp_path), screen=False):
        print("one", flush=True)
