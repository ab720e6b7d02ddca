"""Writes a run's folder and a copy of the code, so that any process on any node executes this very run."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from webshop_rl.errors import UserError
from webshop_rl.launching.continuing import take_over
from webshop_rl.launching.plan import Entry
from webshop_rl.launching.signature import acting_signature
from webshop_rl.launching.sweep import short_label
from webshop_rl.source import SOURCE, code_digest, code_files
from webshop_rl.storage.files import replace_file
from webshop_rl.storage.folders import Root
from webshop_rl.storage.run_status import RunStatus

# The C emitter takes a third of the time; a thousand configs are written at once.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_HEADER = "# The resolved configuration of this run; frozen, editing it changes nothing that has run.\n"


def prepare(entry: Entry, *, sweep: str | None, code: str) -> RunStatus:
    """Freeze config and identity into the run's folder; its status becomes `prepared` if it is new.

    What does not belong to the identity (where it runs, how it is tracked) is replaced at a resume.

    Args:
        entry: the run.
        sweep: the sweep that executes it; None for a single run.
        code: digest of the code that executes it.
    """
    composed = entry.composed
    folder = entry.folder
    shorter = entry.planned.shorter
    if shorter is not None and not shorter.hindrance:
        take_over(folder, shorter)
    config = yaml.dump(composed.config, Dumper=_Dumper, sort_keys=False)
    replace_file(folder.config, _HEADER + config, durable=False)
    identity = {
        "signature": composed.signature,
        "run": folder.name,
        "code_digest": code,
        "git": git_state(),
        "overrides": list(composed.overrides),
        "sweep": sweep,
        "label": short_label(entry.own) if sweep else "",
        "acting": acting_signature(composed.fields),
        "fields": composed.fields,
    }
    replace_file(folder.signature, json.dumps(identity, indent=1), durable=False)
    folder.job.unlink(missing_ok=True)
    return (entry.planned.status or RunStatus()).prepare().write(folder)


@functools.cache
def git_state() -> dict[str, str | bool | None]:
    """{"commit": hash or None outside a repository, "dirty": whether tracked files differ from it}."""
    commit = _git("rev-parse", "HEAD")
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else False
    return {"commit": commit, "dirty": dirty}


def snapshot(root: Root, source: Path) -> Path:
    """A copy of the code under <root>/code/<digest>; made once per digest, safe for many writers.

    A worker that starts with this folder as its working directory imports from it: under `python -m`
    the working directory comes first, before an editable install too.
    """
    target = root.code(code_digest(source))
    if target.is_dir():
        return target
    part = target.with_name(f".{target.name}.{os.uname().nodename}.{os.getpid()}")
    for path in code_files(source):
        copy = part / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    if code_digest(part) != target.name:
        shutil.rmtree(part)
        raise UserError(
            "the code was edited while it was being copied", where=str(source), remedy="launch again"
        )
    try:
        part.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(part)  # another launcher was first
    return target


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=SOURCE, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
