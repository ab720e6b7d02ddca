"""Which code a run was made with, and a copy of it that no later edit can reach."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from webshop_rl.errors import UserError

DIGEST_CHARS = 12
PACKAGE = Path(__file__).resolve().parents[2]
SOURCE = PACKAGE.parent


def code_files(source: Path = SOURCE) -> Iterator[Path]:
    """The files that decide what a run does: all of the package, and launch.py beside it."""
    package = source / PACKAGE.name
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path
    if (source / "launch.py").is_file():
        yield source / "launch.py"


@functools.cache
def code_digest(source: Path = SOURCE) -> str:
    """Hex digest of the code, as it is at the first call of this process."""
    digest = hashlib.sha256()
    for path in code_files(source):
        digest.update(f"{path.relative_to(source).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGEST_CHARS]


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
    target = root / "code" / code_digest(source)
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
