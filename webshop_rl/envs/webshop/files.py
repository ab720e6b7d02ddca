"""Finding and reading the original data files, with errors that name the file, the record and the remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from webshop_rl.errors import UserError

GET_DATA = "`make webshop DATA_DIR=FOLDER` says which files are missing and where to get them"
MAKE_NOUNS = "`make webshop DATA_DIR=FOLDER` writes them"
CHUNK_CHARS = 1 << 20
SMALL_CATALOGUE = 1000

PRODUCT_FILES = ("items_shuffle.json", "items_shuffle_1000.json")
INSTRUCTION_FILES = ("items_ins_v2.json", "items_ins_v2_1000.json")
HUMAN_FILES = ("items_human_ins.json",)
NOUN_FILES = ("title_nouns.json",)


def data_folder(data_dir: str | None) -> Path:
    """The folder of the data files.

    Raises: UserError if none is configured or it does not exist.
    """
    if not data_dir:
        raise UserError(
            "the shop needs a data directory",
            where="env.data_dir",
            remedy="set env.data_dir=FOLDER or the variable WEBSHOP_DATA_DIR",
        )
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise UserError("no such folder", where=str(folder), remedy=f"check its name, or {GET_DATA}")
    return folder


def find(folder: Path, names: tuple[str, ...], *, num_products: int | None) -> Path:
    """The first of the names that exists; the small file comes first where 1,000 products suffice.

    Any other size of the file ("items_shuffle_100000.json") is taken when none of the names is there.

    Raises: UserError if there is none.
    """
    small_first = num_products is not None and num_products <= SMALL_CATALOGUE
    ordered = tuple(reversed(names)) if small_first else names
    for name in ordered:
        if (folder / name).is_file():
            return folder / name
    stem = names[0].removesuffix(".json")
    others = sorted(folder.glob(f"{stem}_*.json"))
    if others:
        return others[0]
    remedy = MAKE_NOUNS if names == NOUN_FILES else GET_DATA
    raise UserError("no such file", where=str(folder / " or ".join(ordered)), remedy=remedy)


def look(folder: Path, *, num_products: int | None) -> None:
    """See that all files are there, that each starts as JSON and that the catalogue may be large enough.

    Reads one record of the catalogue, however many products are asked for.

    Raises: UserError naming the first file that is missing or of another kind.
    """
    for names, start in (
        (PRODUCT_FILES, "["),
        (INSTRUCTION_FILES, "{"),
        (HUMAN_FILES, "{"),
        (NOUN_FILES, "{"),
    ):
        path = find(folder, names, num_products=num_products)
        with path.open(encoding="utf-8", errors="replace") as stream:
            if _Buffer(stream).next_symbol() != start:
                raise UserError("not the JSON that is expected", where=str(path), remedy=GET_DATA)
    catalogue = find(folder, PRODUCT_FILES, num_products=num_products)
    # All catalogues but the whole one have the number of their products in their names.
    size = re.search(r"_(\d+)\.json$", catalogue.name)
    if size and num_products is not None and int(size[1]) < num_products:
        raise UserError(
            f"holds only {size[1]} products, {num_products} were asked for",
            where=str(catalogue),
            remedy="lower env.num_products, set it to null for all, or get the full files",
        )
    next(read_records(catalogue), None)


def read_object(path: Path) -> dict[str, Any]:
    """A whole file that holds one JSON object.

    Raises: UserError if it cannot be read or is not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"not readable as JSON: {error}", where=str(path), remedy=GET_DATA) from error
    if not isinstance(content, dict):
        raise UserError(f"holds a {type(content).__name__}, not an object", where=str(path), remedy=GET_DATA)
    return content


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream the records of a file that holds one JSON array of objects: (number from 0, record).

    Only about one record is held in memory, and nothing beyond the last record asked for is read, so
    the first 50 of a million products cost no more than 50 products.

    Raises: UserError that names the broken record.
    """
    return iter(Records(path))


class Records:
    """The records of read_records, from any of them on.

    Args:
        path: the file.
        number: of the first record wanted.
        offset: what `offset` was after the record before it, bytes.

    Attributes:
        text: the record that came last, as it is written.
    """

    def __init__(self, path: Path, *, number: int = 0, offset: int = 0) -> None:
        self._path = path
        self._number = number
        self._start = offset
        self._buffer: _Buffer | None = None
        self.text = ""

    @property
    def offset(self) -> int:
        """End of the record that came last, bytes."""
        return self._start if self._buffer is None else self._buffer.offset()

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        number = self._number
        try:
            # Line ends are left as they are, so that the offset counts them.
            with self._path.open(encoding="utf-8", newline="") as stream:
                stream.seek(self._start)
                for record in self._items(_Buffer(stream, self._start)):
                    if not isinstance(record, dict):
                        raise ValueError(f"it is a {type(record).__name__}, not an object")
                    yield number, record
                    number += 1
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot be read: {error}", where=f"{self._path}: record {number}", remedy=GET_DATA
            ) from error

    def _items(self, buffer: _Buffer) -> Iterator[Any]:
        decoder = json.JSONDecoder()
        self._buffer = buffer
        if not self._start:
            if buffer.next_symbol() != "[":
                raise ValueError("the file does not hold a JSON array")
            buffer.position += 1
            if buffer.next_symbol() == "]":
                return
        elif not _goes_on(buffer, "]"):
            return
        while True:
            value = buffer.decode(decoder)
            self.text = buffer.decoded()
            yield value
            if not _goes_on(buffer, "]"):
                return


def read_members(path: Path) -> Iterator[tuple[str, str]]:
    """Stream the members of a file that holds one JSON object: (key, its value as JSON).

    Raises: UserError that names the key before the broken place.
    """
    decoder = json.JSONDecoder()
    key = "the beginning"
    try:
        with path.open(encoding="utf-8") as stream:
            buffer = _Buffer(stream)
            if buffer.next_symbol() != "{":
                raise ValueError("the file does not hold a JSON object")
            buffer.position += 1
            going_on = buffer.next_symbol() != "}"
            while going_on:
                key = buffer.decode(decoder)
                if not isinstance(key, str) or buffer.next_symbol() != ":":
                    raise ValueError("a key is expected")
                buffer.position += 1
                buffer.next_symbol()
                yield key, buffer.decode_as_text(decoder)
                going_on = _goes_on(buffer, "}")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read: {error}", where=f"{path}: {key}", remedy=GET_DATA) from error


def _goes_on(buffer: _Buffer, end: str) -> bool:
    """Whether another value follows, at which the buffer then is."""
    symbol = buffer.next_symbol()
    if symbol == end:
        return False
    if symbol != ",":
        raise ValueError("the file ends before its list does" if not symbol else f"found {symbol!r}")
    buffer.position += 1
    if buffer.next_symbol() == end:
        raise ValueError("a record is missing after the last comma")
    return True


class _Buffer:
    """A window on a text stream that grows until what is looked for fits."""

    def __init__(self, stream: Any, offset: int = 0) -> None:
        self._stream = stream
        self._text = ""
        self._left_behind = offset  # bytes before the window
        self.position = 0
        self._value_start = 0

    def offset(self) -> int:
        """Where the position is in the file, bytes."""
        return self._left_behind + len(self._text[: self.position].encode())

    def next_symbol(self) -> str:
        """The next character that is not white space, not consumed; "" at the end of the stream."""
        while True:
            while self.position < len(self._text):
                if self._text[self.position] not in " \t\r\n\ufeff":
                    return self._text[self.position]
                self.position += 1
            if not self._grow():
                return ""

    def decode(self, decoder: json.JSONDecoder) -> Any:
        """The JSON value that starts here, consumed."""
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self.position)
            except json.JSONDecodeError as error:
                if not self._may_go_on(error) or not self._grow():
                    raise
                continue
            if end == len(self._text) and self._grow():
                continue  # a number might go on in the next chunk
            self._value_start = self.position
            self.position = end
            return value

    def decode_as_text(self, decoder: json.JSONDecoder) -> str:
        """The JSON value that starts here, consumed, as it is written."""
        self.decode(decoder)
        return self.decoded()

    def decoded(self) -> str:
        """The value that was consumed last, as it is written."""
        return self._text[self._value_start : self.position]

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether the error may only mean that the value is cut at the end of the window."""
        return error.msg.startswith("Unterminated") or error.pos >= len(self._text) - len("\\uXXXX-Infinity")

    def _grow(self) -> bool:
        chunk = self._stream.read(CHUNK_CHARS)
        if chunk:
            self._left_behind = self.offset()
            self._text = self._text[self.position :] + chunk
            self.position = 0
        return bool(chunk)
