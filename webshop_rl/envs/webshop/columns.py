"""Columns in files that processes map and share: numbers, and texts found by number or by content."""

from __future__ import annotations

import mmap
import zlib
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from webshop_rl.storage.files import replacing

_FREE = -1
_ENCODING = ("utf-8", "surrogatepass")  # JSON can hold half a surrogate pair


def save(folder: Path, name: str, values: npt.NDArray[Any]) -> None:
    """Write a column of numbers."""
    with replacing(folder / f"{name}.npy", durable=False) as part, part.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def load(folder: Path, name: str) -> npt.NDArray[Any]:
    """Map a column of numbers; its pages are read from the file when they are looked at."""
    path = folder / f"{name}.npy"
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(values)


class Texts(Sequence[str]):
    """Mapped texts.

    Args:
        folder: in which `TextsWriter` has written them.
        name: of the column.
    """

    def __init__(self, folder: Path, name: str) -> None:
        with (folder / f"{name}.bin").open("rb") as file:
            # An empty file cannot be mapped.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.read(1) else b""
        self._content = memoryview(content)
        self._starts = load(folder, f"{name}.starts")

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, number: int) -> str: ...

    @overload
    def __getitem__(self, number: slice) -> list[str]: ...

    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self[own] for own in range(*number.indices(len(self)))]
        start, end = self._starts[number], self._starts[number + 1]
        return str(self._content[start:end], *_ENCODING)


class Names(Texts):
    """Mapped texts, no two alike, which are found by content too: a hash table with linear probing."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self._slots = load(folder, f"{name}.slots")

    def get(self, text: str) -> int | None:
        """The number of a text; None if it is not there."""
        wanted = text.encode(*_ENCODING)
        mask = len(self._slots) - 1
        slot = zlib.crc32(wanted) & mask
        while (number := int(self._slots[slot])) != _FREE:
            if self._content[self._starts[number] : self._starts[number + 1]] == wanted:
                return number
            slot = (slot + 1) & mask
        return None


class TextsWriter:
    """Appends texts to a column.

    Args:
        folder: to write in.
        name: of the column.
        starts: of the texts that are there already, and their end; more content than that is cut off.
    """

    def __init__(self, folder: Path, name: str, starts: Iterable[int] = (0,)) -> None:
        self._folder = folder
        self._name = name
        self._starts = array("q", starts)
        self._file = (folder / f"{name}.bin").open("ab")
        self._file.truncate(self._starts[-1])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def extend(self, texts: Iterable[str]) -> None:
        """Append texts."""
        for text in texts:
            content = text.encode(*_ENCODING)
            self._file.write(content)
            self._starts.append(self._starts[-1] + len(content))

    def flush(self) -> None:
        """Make all that was appended readable, as Texts."""
        self._file.flush()
        save(self._folder, f"{self._name}.starts", np.array(self._starts))

    def close(self) -> None:
        self.flush()
        self._file.close()


def write_names(folder: Path, name: str, texts: Iterable[str]) -> None:
    """Write a column that `Names` reads."""
    writer = TextsWriter(folder, name)
    writer.extend(texts)
    writer.close()
    index_names(folder, name)


def index_names(folder: Path, name: str) -> None:
    """Add the hash table to a column of texts, no two alike."""
    texts = Texts(folder, name)
    size = 1 << max(4, (2 * len(texts)).bit_length())
    slots = array("i", [_FREE]) * size
    for number, text in enumerate(texts):
        slot = zlib.crc32(text.encode(*_ENCODING)) & (size - 1)
        while slots[slot] != _FREE:
            slot = (slot + 1) & (size - 1)
        slots[slot] = number
    save(folder, f"{name}.slots", np.array(slots, dtype=np.int32))
