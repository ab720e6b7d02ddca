"""Memory: running out of it is reported with the keys to turn, and what was freed goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from webshop_rl.errors import UserError

# What the CPU allocator says, where the kernel refuses memory instead of killing.
_REFUSED = ("can't allocate memory", "Storage size calculation overflowed")
RELEASE_ABOVE = 2**26  # bytes that the C heap may keep to itself: to fault them in again takes some 10 ms


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


@dataclass(frozen=True)
class Heap:
    """The C heap, bytes: in use, and kept by the allocator for what may come."""

    used: int
    free: int


def heap() -> Heap | None:
    """The C heap of this process; None where the C library does not tell (not glibc)."""
    libc = _glibc()
    if libc is None:
        return None
    found = libc.mallinfo2()
    return Heap(used=found.uordblks, free=found.fordblks)


def release_freed() -> None:
    """Give memory that was freed back to the system, once there is enough of it (RELEASE_ABOVE).

    Tensors below 32 MB live in the C heap (glibc raises the size from which it maps them), of which only the
    top goes back by itself: with small blocks above them, hundreds of MB of decoding caches and activations
    stay resident after they are freed, and the next ones fit between those blocks ever worse.
    """
    found = heap()
    if found is not None and found.free > RELEASE_ABOVE:
        libc = _glibc()
        assert libc is not None
        libc.malloc_trim(0)


class _MallInfo2(ctypes.Structure):
    """glibc's struct mallinfo2 (malloc.h)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """The C library, if it has what is asked of it here (glibc 2.33)."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallinfo2.restype = _MallInfo2
        libc.malloc_trim.argtypes = [ctypes.c_size_t]
    except (OSError, AttributeError):
        return None
    return libc
