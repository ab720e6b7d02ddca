"""Threads of a run: what the user says, else what it began with, else what it was given and has a use for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from webshop_rl.distributed.threads import settle_threads


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def settled(folder: Path, given: int, wanted: int | None = None, **options: int) -> int:
    folder.mkdir(exist_ok=True)
    torch.set_num_threads(given)
    number = settle_threads(folder, wanted, **options)
    assert torch.get_num_threads() == number
    return number


def test_a_resumed_run_has_the_threads_it_began_with(tmp_path: Path) -> None:
    assert settled(tmp_path, 2) == 2
    assert settled(tmp_path, 1) == 2
    assert settled(tmp_path, 1, most=1) == 2
    assert settled(tmp_path, 2, wanted=3) == 3
    assert settled(tmp_path, 1) == 3


def test_a_small_model_takes_no_more_than_it_has_a_use_for(tmp_path: Path) -> None:
    assert settled(tmp_path / "small", 2, most=1) == 1
    assert settled(tmp_path / "large", 2, most=4) == 2
    assert settled(tmp_path / "said", 1, wanted=2, most=1) == 2
