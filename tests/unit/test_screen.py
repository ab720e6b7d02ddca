"""A stream on which no write fails; what a person is told and a pipe is not, and how wide its tables are."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from webshop_rl.screen import PIPED_COLUMNS, Screen, say_step, table_width, unfailing


def test_what_it_is_given_arrives(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        stream = unfailing(file.fileno())
        stream.write("a ✓\n" * 10_000)
        stream.flush()
    assert (tmp_path / "out").read_text() == "a ✓\n" * 10_000


@pytest.mark.parametrize("gone", ["reader", "disk"])
def test_what_it_cannot_pass_on_is_dropped(gone: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    if gone == "disk":
        os.close(writing)
        writing = os.open("/dev/full", os.O_WRONLY)
    stream = unfailing(writing)
    stream.write("x" * 100_000)
    stream.flush()
    stream.close()
    assert Screen(writing).write(b"abc") == 3
    os.close(writing)


def test_a_character_that_the_screen_lacks_is_replaced(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as file:
        stream = unfailing(file.fileno(), file)
        stream.write("Wälder\n")
        stream.flush()
    assert (tmp_path / "out").read_text() == "W?lder\n"


class Terminal(io.StringIO):
    """A stream that says that a person looks at it."""

    def isatty(self) -> bool:
        return True


def test_the_width_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert table_width() == PIPED_COLUMNS
    monkeypatch.setenv("COLUMNS", "70")
    assert table_width() is None  # rich reads COLUMNS
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert table_width() is None


@pytest.mark.parametrize(("stream", "said"), [(Terminal, "comparing 2 runs ...\n"), (io.StringIO, "")])
def test_steps_are_said_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], said: str
) -> None:
    screen = stream()
    monkeypatch.setattr(sys, "stderr", screen)
    say_step("comparing 2 runs")
    assert screen.getvalue() == said
