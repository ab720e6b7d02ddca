"""Reading a folder of recorded rows: JSON lines, one kind of row a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from webshop_rl.errors import UserError

REMEDY: Final = "pass the folder of the recorded rows, with its .jsonl files as they were delivered"

Row = tuple[str, dict[str, Any]]  # file and line; the JSON object


class Repeated:
    """The value of a field that stands twice in one object: equal to nothing that a row may have."""

    def __repr__(self) -> str:
        return "two fields of this name"


def read_corpus(folder: Path, kinds: Sequence[str]) -> dict[str, list[Row]]:
    """The rows by kind, in the order of kinds; a file's name up to the first dot is the kind of its rows.

    Raises: UserError for a missing or empty folder, an unknown kind, an empty file, a broken line.
    """
    if not folder.is_dir():
        raise UserError("no such folder", where=str(folder), remedy=REMEDY)
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".jsonl")
    if not paths:
        raise UserError("contains no .jsonl file", where=str(folder), remedy=REMEDY)
    corpus: dict[str, list[Row]] = {kind: [] for kind in kinds}
    for path in paths:
        kind = path.name.split(".")[0]
        if kind not in corpus:
            known = f"known kinds: {', '.join(kinds)}"
            raise UserError(f"unknown kind {kind!r}", where=str(path), remedy=known)
        corpus[kind] += _read(path)
    return {kind: rows for kind, rows in corpus.items() if rows}


def _read(path: Path) -> list[Row]:
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path), remedy=REMEDY) from error
    if lines == [""]:
        raise UserError("contains no row", where=str(path), remedy=REMEDY)
    rows = []
    for number, line in enumerate(lines, start=1):
        where = f"{path} line {number}"
        try:
            content = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise UserError(f"not JSON: {error}", where=where, remedy=REMEDY) from error
        if not isinstance(content, dict):
            raise UserError("not a JSON object", where=where, remedy=REMEDY)
        rows.append((f"{path.name} line {number}", content))
    return rows


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        content[name] = Repeated() if name in content else value
    return content
