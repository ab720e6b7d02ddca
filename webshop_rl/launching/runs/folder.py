"""What lies where under `root`.

<root>/runs/<run>/      one run: its frozen config, status, journal, log, result, checkpoints
<root>/sweeps/<name>/   one sweep: its manifest and what submitit writes
<root>/code/<digest>/   the code that queued runs use
<root>/vstar/<digest>/  reference returns of V*, shared by runs (values.store)
"""

from __future__ import annotations

from pathlib import Path

CONFIG = "config.yaml"
SIGNATURE = "signature.json"
STATUS = "status.json"
JOB = "job.json"
RESULT = "result.json"
VSTAR = "vstar.json"
LOG = "log.txt"
CHECKPOINTS = "checkpoints"


def runs_folder(root: Path) -> Path:
    """Where the runs are."""
    return root / "runs"


def vstar_folder(root: Path) -> Path:
    """Where the reference returns of V* are, for all runs of the root."""
    return root / "vstar"


def sweep_folder(root: Path, name: str) -> Path:
    """Where a sweep keeps its manifest."""
    return root / "sweeps" / name
