"""Digest of what a file or folder holds, remembered by size and time of change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from webshop_rl.storage.files import read_json, replace_file

DIGEST_CHARS = 16
_BLOCK_BYTES = 1 << 20
_WHOLE_BYTES = 256 << 20
_SAMPLED_BLOCKS = 64
# What says something about the data and is not the data.
_IGNORED = ("README", "LICENSE", ".")


def content_digest(place: Path, *, cache: Path | None = None) -> str:
    """Hex digest of a file, or of all files below a folder with their relative names.

    Hidden files, READMEs and licences in a folder do not count. A file over 256 MiB (model weights)
    enters with its size and 64 blocks of 1 MiB spread over it. A cache file spares reading again what
    has the same size and time of change.
    """
    known = (read_json(cache) or {}) if cache is not None else {}
    digests: dict[str, list[object]] = {}
    summary = hashlib.sha256()
    for name, path in _files(place):
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        entry = known.get(str(path.resolve()))
        if not (isinstance(entry, list) and entry[:2] == stamp):
            entry = [*stamp, _file_digest(path, stat.st_size)]
            digests[str(path.resolve())] = entry
        summary.update(f"{name}\0{entry[2]}\n".encode())
    if cache is not None and digests:
        replace_file(cache, json.dumps({**known, **digests}, indent=0), durable=False)
    return summary.hexdigest()[:DIGEST_CHARS]


def _files(place: Path) -> Iterator[tuple[str, Path]]:
    if place.is_file():
        yield "", place
        return
    for path in sorted(place.rglob("*")):
        parts = path.relative_to(place).parts
        if path.is_file() and not any(part.startswith(_IGNORED) for part in parts):
            yield "/".join(parts), path


def _file_digest(path: Path, size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
        else:
            for k in range(_SAMPLED_BLOCKS):
                file.seek((size - _BLOCK_BYTES) * k // (_SAMPLED_BLOCKS - 1))
                digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()
