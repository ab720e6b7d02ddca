"""Which code this is: digests of the package as it is imported, whole or the part that plays episodes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

DIGEST_CHARS = 12
PACKAGE = Path(__file__).resolve().parent
SOURCE = PACKAGE.parent

# Within the package in a wheel only, beside it in a checkout: a run executes neither.
_BESIDE = ("conf", "analysis")
# What decides an episode, given the values of the configuration: shops, models, prompts and decoding, and
# how a reference episode is asked for.
ACTING = ("envs", "interface", "models", "rollout", "training/reference.py", "training/vstar.py")


def code_files(source: Path = SOURCE) -> Iterator[Path]:
    """The files that decide what a run does: all of the package, and launch.py beside it."""
    package = source / PACKAGE.name
    yield from (f for f in _files_of(package) if f.relative_to(package).parts[0] not in _BESIDE)
    if (source / "launch.py").is_file():
        yield source / "launch.py"


@functools.cache
def code_digest(source: Path = SOURCE) -> str:
    """Hex digest of the code, as it is at the first call of this process."""
    return _digest(source, code_files(source))


@functools.cache
def acting_code_digest(source: Path = SOURCE) -> str:
    """Hex digest of the code that decides an episode, as it is at the first call of this process."""
    package = source / PACKAGE.name
    return _digest(source, (file for part in ACTING for file in _files_of(package / part)))


def _files_of(place: Path) -> Iterator[Path]:
    for path in [place] if place.is_file() else sorted(place.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def _digest(source: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(source).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGEST_CHARS]
