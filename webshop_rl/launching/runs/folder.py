"""What lies where under `root`.

<root>/runs/<run>/      one run: its frozen config, status, journal, log, result, checkpoints
<root>/sweeps/<name>/   one sweep: its manifest and what submitit writes
<root>/code/<digest>/   the code that queued runs use
"""

from __future__ import annotations

from pathlib import Path

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
