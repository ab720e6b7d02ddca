"""Reading a folder of recorded rows: JSON lines, one kind of row a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webshop_rl.errors import UserError

KINDS = ("goals", "prices", "rewards", "searches", "analysis", "trajectories", "trajectories_rich")
REMEDY = "pass the folder of the recorded rows, with its .jsonl files as they were delivered"


@dataclass(frozen=True)
class Row:
    """One line of a file.

    Attributes:
        path: the file; its name up to the first dot is the kind of its rows.
        line: from 1.
        content: the JSON object.
        repeated: a field name that stands twice in one object, if any does; only the last is in content.
    """

    path: Path
    line: int
    content: dict[str, Any]
    repeated: str | None = None

    def __str__(self) -> str:
        return f"{self.path.name} line {self.line}"


Files = dict[str, list[list[Row]]]


def read_corpus(folder: Path) -> Files:
    """The rows of every file, by kind.

    Raises: UserError for a missing or empty folder, an unknown kind, an empty file, a broken line.
    """
    if not folder.is_dir():
        raise UserError("no such folder", where=str(folder), remedy=REMEDY)
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".jsonl")
    if not paths:
        raise UserError("holds no .jsonl file", where=str(folder), remedy=REMEDY)
    files: Files = {}
    for path in paths:
        kind = path.name.split(".")[0]
        if kind not in KINDS:
            raise UserError(
                f"unknown kind {kind!r}", where=str(path), remedy=f"known kinds: {', '.join(KINDS)}"
            )
        files.setdefault(kind, []).append(_read(path))
    return files


def _read(path: Path) -> list[Row]:
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path), remedy=REMEDY) from error
    if lines == [""]:
        raise UserError("holds no row", where=str(path), remedy=REMEDY)
    return [_parse(path, number, line) for number, line in enumerate(lines, start=1)]


def _parse(path: Path, number: int, line: str) -> Row:
    repeated: list[str] = []

    def collect(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            names = [name for name, _ in pairs]
            repeated.append(next(name for name in names if names.count(name) > 1))
        return content

    try:
        content = json.loads(line, object_pairs_hook=collect)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where=f"{path} line {number}", remedy=REMEDY) from error
    if not isinstance(content, dict):
        raise UserError("not a JSON object", where=f"{path} line {number}", remedy=REMEDY)
    return Row(path, number, content, repeated[0] if repeated else None)
