"""A stream on which no write fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from webshop_rl.screen import Screen, unfailing


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
