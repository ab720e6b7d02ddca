"""Writes a run's folder so that any process, on any node, executes exactly this run."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from webshop_rl.launching.runs.code import git_state
from webshop_rl.launching.runs.compose import ComposedRun
from webshop_rl.launching.runs.plan import Planned
from webshop_rl.launching.runs.state import RunStatus, State, hold_by_job, write_status
from webshop_rl.storage.files import replace_file
from webshop_rl.storage.folders import RunFolder

# The C emitter takes a third of the time; a thousand configs are written at once.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def prepare(composed: ComposedRun, planned: Planned, *, sweep: str | None, code: str) -> RunStatus:
    """Freeze config and identity into the run's folder; its status becomes `prepared` if it is new.

    What does not belong to the identity (where it runs, how it is tracked) is replaced at a resume.

    Args:
        composed: the run.
        planned: its folder, and what is known of it.
        sweep: the sweep that executes it.
        code: digest of the code that executes it.
    """
    _write_config(planned.folder, composed.config)
    identity = {
        "signature": composed.signature,
        "run": planned.run,
        "code_digest": code,
        "git": git_state(),
        "overrides": list(composed.overrides),
        "sweep": sweep,
        "fields": composed.fields,
    }
    replace_file(RunFolder(planned.folder).signature, json.dumps(identity, indent=1), durable=False)
    known = planned.status or RunStatus()
    hold_by_job(planned.folder, "")
    return write_status(planned.folder, replace(known, launcher="", queued=time.time(), error=""))


def mark_queued(folder: Path, status: RunStatus, *, launcher: str) -> RunStatus:
    """Say which launcher will start the run, or is handing it over to Slurm."""
    return write_status(folder, replace(status, state=State.QUEUED, launcher=launcher, queued=time.time()))


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    header = "# The resolved configuration of this run; frozen, editing it changes nothing that has run.\n"
    replace_file(
        RunFolder(folder).config, header + yaml.dump(config, Dumper=_Dumper, sort_keys=False), durable=False
    )
