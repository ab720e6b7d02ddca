"""Files that many writers may add to and none ever changes: the store's only form of writing.

A shard is written under a temporary name, synced, and renamed: readers see it whole or not at all, on
a network file system too, and no lock is needed. Should a crash of the file system still leave a torn
one, its whole lines are read and the rest is reported.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from webshop_rl.storage.files import replace_file


def write_shard(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Add a shard of JSON lines to the folder. Names sort by time of writing."""
    path = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}.jsonl"
    replace_file(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))
    return path


def read_shard(path: Path) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """The rows of a shard with their line numbers, and how many lines were not whole JSON objects."""
    rows: list[tuple[int, dict[str, Any]]] = []
    torn = 0
    for number, line in enumerate(path.read_bytes().split(b"\n")):
        if not line:
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append((number, row))
        else:
            torn += 1
    return rows, torn


def list_shards(folder: Path) -> list[Path]:
    """The folder's shards by name, i.e. the earliest first."""
    return sorted(path for path in folder.glob("*.jsonl") if not path.name.startswith("."))
