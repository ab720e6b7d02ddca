"""How many threads a run computes with, the same at every attempt."""

from __future__ import annotations

from pathlib import Path

import torch

from webshop_rl.storage.files import replace_file
from webshop_rl.storage.folders import RunFolder


def settle_threads(folder: Path, wanted: int | None, *, most: int | None = None, record: bool = True) -> int:
    """Have torch use as many threads as the run's first attempt did; their number.

    More threads add up in another order, and the last bits differ. Unless `hardware.threads` says so
    their number depends on how many runs shared the machine, which a resumed run may have to itself.

    Args:
        folder: of the run, where the number is kept.
        wanted: hardware.threads; None takes what the first attempt had, or what this process was given.
        most: of what it was given, where the run has no use for more.
        record: whether this process writes it down.
    """
    path = RunFolder(folder).threads
    try:
        known = int(path.read_text())
    except (OSError, ValueError):
        known = 0
    given = torch.get_num_threads()
    number = wanted or known or (given if most is None else min(given, most))
    torch.set_num_threads(number)
    if record and number != known:
        replace_file(path, str(number))
    return number
