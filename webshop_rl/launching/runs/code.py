"""The commit a run was made with, and a copy of its code that no later edit can reach."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from webshop_rl.errors import UserError
from webshop_rl.source import SOURCE, code_digest, code_files
from webshop_rl.storage.folders import Root


@functools.cache
def git_state(source: Path = SOURCE) -> dict[str, str | bool | None]:
    """{"commit": hash or None outside a repository, "dirty": whether tracked files differ from it}."""
    commit = _git(source, "rev-parse", "HEAD")
    dirty = bool(_git(source, "status", "--porcelain", "--untracked-files=no")) if commit else False
    return {"commit": commit, "dirty": dirty}


def snapshot(root: Path, source: Path = SOURCE) -> Path:
    """A copy of the code under <root>/code/<digest>; made once per digest, safe for many writers.

    A worker that starts with this folder as its working directory imports from it: under `python -m`
    the working directory comes first, before an editable install too.
    """
    target = Root(root).code(code_digest(source))
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


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
