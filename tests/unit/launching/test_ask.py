from __future__ import annotations

import io
import os
import pty
import signal
import sys

import pytest

from webshop_rl.launching.launchers import StopRequests, ask_to_cancel


@pytest.fixture
def interrupted() -> StopRequests:
    stop = StopRequests()
    stop.count, stop.signum = 1, signal.SIGINT
    return stop


@pytest.mark.parametrize(("typed", "cancel"), [("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False)])
def test_at_ctrl_c_on_a_terminal_the_user_decides(
    monkeypatch: pytest.MonkeyPatch, interrupted: StopRequests, typed: str, cancel: bool
) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(ours, typed.encode())
        assert ask_to_cancel("ask", interrupted) == cancel
    os.close(ours)


def test_a_second_ctrl_c_leaves_them(monkeypatch: pytest.MonkeyPatch, interrupted: StopRequests) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        looks = 0

        def nobody_types(*_: object) -> tuple[list[int], list[int], list[int]]:
            nonlocal looks
            looks += 1
            assert looks < 3, "asked on after the second Ctrl-C"
            interrupted.urgent = looks == 2
            return [], [], []

        monkeypatch.setattr("webshop_rl.launching.launchers.select.select", nobody_types)
        assert not ask_to_cancel("ask", interrupted)
        assert looks == 2
    os.close(ours)


def test_without_a_terminal_or_a_person_the_jobs_are_left(
    monkeypatch: pytest.MonkeyPatch, interrupted: StopRequests
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert not ask_to_cancel("ask", interrupted)
    interrupted.signum = signal.SIGTERM
    assert not ask_to_cancel("ask", interrupted)
    assert ask_to_cancel("cancel", interrupted)
    assert not ask_to_cancel("leave", interrupted)
