"""Memory: running out of it is reported with the keys to turn, and what was freed goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]
import torch

from webshop_rl.errors import UserError

# What the CPU allocator says, where the kernel refuses memory instead of killing.
_REFUSED = ("can't allocate memory", "Storage size calculation overflowed")
RELEASE_ABOVE = 2**27  # bytes; to give less back, and to fault it in again, is not worth the time


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


class FreedMemory:
    """What a process has freed and still holds; given back once it has grown by RELEASE_ABOVE.

    Growth counts, not what lies free: pages that were given back stay in the allocator's count of free ones.
    """

    def __init__(self) -> None:
        self._least = resident_bytes()

    def release(self) -> None:
        """Give freed memory back to the system, if it may be enough to be worth the time."""
        resident = resident_bytes()
        self._least = min(self._least, resident)
        if resident - self._least > RELEASE_ABOVE:
            release_freed()
            self._least = resident_bytes()


def resident_bytes() -> int:
    """Memory of this process that is not swapped out, nor only reserved."""
    return int(psutil.Process().memory_info().rss)


def release_freed() -> bool:
    """Give memory that was freed back to the system; False where the C library cannot (not glibc).

    Tensors below 32 MB live in the C heap (glibc raises the size from which it maps them), of which only the
    top goes back by itself: with small blocks above them, hundreds of MB of decoding caches and activations
    stay resident after they are freed, and the next ones fit between those blocks ever worse.
    """
    libc = _glibc()
    if libc is None:
        return False
    libc.malloc_trim(0)
    return True


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """The C library, if it has what is asked of it here."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.malloc_trim.argtypes = [ctypes.c_size_t]
    except (OSError, AttributeError):
        return None
    return libc
