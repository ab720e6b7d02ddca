"""Running out of device memory, reported with the keys to turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from webshop_rl.errors import UserError

# What the CPU allocator says, where the kernel refuses memory instead of killing.
_REFUSED = ("can't allocate memory", "Storage size calculation overflowed")


@contextlib.contextmanager
def memory_advice(where: str, remedy: str) -> Iterator[None]:
    """Turn an out-of-memory error into one that says what to do.

    Args:
        where: what was going on.
        remedy: names the keys to turn.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not isinstance(error, torch.OutOfMemoryError) and not any(text in str(error) for text in _REFUSED):
            raise
        said = str(error).partition("\n")[0].split(". ")[0]
        raise UserError(f"out of memory ({said})", where=where, remedy=remedy) from error
