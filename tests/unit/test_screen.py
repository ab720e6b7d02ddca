"""What is said to a person is not said to a pipe, whose tables are wide enough."""

from __future__ import annotations

import io
import sys

import pytest

from webshop_rl.screen import PIPED_COLUMNS, say_step, table_width


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
