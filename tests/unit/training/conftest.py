"""What the tests of training share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes are not forced to the disk, which takes most of the time of a run of stand-ins."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
