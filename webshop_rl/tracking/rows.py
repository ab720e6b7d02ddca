"""Rows of a run's journal: one JSON object a line, and how to read them.

    {"kind": "run", "ts_ms": ..., "run_uid": ..., "run_name": ..., "experiment": ..., "uri": ...,
     "sweep": ""}
    {"kind": "state", "ts_ms": ..., "status": "RUNNING", "error": ""}
    {"kind": "params", "ts_ms": ..., "params": {"lr": "5e-06", ...}}
    {"kind": "tags", "ts_ms": ..., "tags": {"seed": "0", ...}}
    {"kind": "metrics", "ts_ms": ..., "step": 3, "metrics": {"train/score": 0.25, ...}}
    {"kind": "artifact", "ts_ms": ..., "path": "config.yaml", "folder": ""}
    {"kind": "traces", "ts_ms": ..., "path": "traces/test.json"}
    {"kind": "dataset", "ts_ms": ..., "name": "shop5 test", "digest": ..., "context": "test", "source": ...,
     "profile": {"num_goals": 5, ...}}
    {"kind": "model", "ts_ms": ..., "name": ..., "step": 40, "tags": {"checkpoint": ..., ...},
     "metrics": ["test/score", ...], "dataset": {"name": ..., "digest": ...}}

The newline commits a row. JSON has no NaN and no infinity, so these are the strings "NaN",
"Infinity" and "-Infinity"; every other number is printed with the digits that give the same float64.
Paths are relative to the run's folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from webshop_rl.errors import UserError

KINDS = ("run", "state", "params", "tags", "metrics", "artifact", "traces", "dataset", "model")
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Row = dict[str, Any]


def encode(row: Mapping[str, Any]) -> bytes:
    """One line of the journal, newline included."""
    if row["kind"] == "metrics":
        row = {**row, "metrics": {k: _to_json(v) for k, v in row["metrics"].items()}}
    return (json.dumps(row, allow_nan=False, separators=(",", ":")) + "\n").encode()


def decode(line: bytes) -> Row:
    """The row of a line.

    Raises: ValueError if the line is not a row.
    """
    row = json.loads(line)  # UnicodeDecodeError and JSONDecodeError are ValueErrors
    if not isinstance(row, dict) or row.get("kind") not in KINDS or not isinstance(row.get("ts_ms"), int):
        raise ValueError("not a journal row")
    if row["kind"] == "metrics":
        row["metrics"] = {k: _from_json(v) for k, v in row["metrics"].items()}
    return row


def _to_json(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _from_json(value: Any) -> float:
    if isinstance(value, str):
        if value not in _SPECIAL:
            raise ValueError(f"{value!r} is not a number")
        return _SPECIAL[value]
    return float(value)


def scan(path: Path, offset: int = 0) -> Iterator[tuple[int, Row]]:
    """(byte offset behind the row, row) of every complete row from offset on.

    A last line without its newline is not there yet and is left out.
    Raises: UserError naming the line if a complete line is not a row.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                row = decode(line)
            except ValueError as error:
                raise _corrupt(path, offset, error) from error
            offset += len(line)
            yield offset, row


def _corrupt(path: Path, offset: int, error: ValueError) -> UserError:
    with path.open("rb") as file:
        number = file.read(offset).count(b"\n") + 1
    return UserError(
        f"line {number} is damaged ({error})",
        where=str(path),
        remedy="only the last line may be torn; restore the file, or start afresh with rerun=true",
    )


def read_rows(path: Path) -> list[Row]:
    """All complete rows of a journal. Raises: UserError on a damaged line."""
    return [row for _, row in scan(path)]
