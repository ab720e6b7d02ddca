"""What lies where under `root`, and the small JSON files in it.

<root>/runs/<run>/      one run: its frozen config, status, journal, log, result, checkpoints
<root>/sweeps/<name>/   one sweep: its manifest and what submitit writes
<root>/code/<digest>/   the code that queued runs use
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

CONFIG = "config.yaml"
SIGNATURE = "signature.json"
STATUS = "status.json"
JOB = "job.json"
RESULT = "result.json"
LOG = "log.txt"
CHECKPOINTS = "checkpoints"


def runs_folder(root: Path) -> Path:
    """Where the runs are."""
    return root / "runs"


def sweep_folder(root: Path, name: str) -> Path:
    """Where a sweep keeps its manifest."""
    return root / "sweeps" / name


def replace_text(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader sees the old or the new.

    Not forced to disk: what is written here can be composed again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None if the file is absent or holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
