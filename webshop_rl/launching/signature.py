"""The identity of a run: what of its configuration can change its numbers, and the hash of that.

Where things lie and on what machine they run never enters; what files hold does. So the same
experiment has the same signature in every checkout, on a laptop and on a cluster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from webshop_rl.config.walk import Key, facts_of, plain, walk
from webshop_rl.errors import UserError
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import Root

SIGNATURE_CHARS = 12
DIGEST_CHARS = 16
_BLOCK_BYTES = 1 << 20
_WHOLE_BYTES = 256 << 20
_SAMPLED_BLOCKS = 64
# What says something about the data and is not the data.
_IGNORED = ("README", "LICENSE", ".")

Scalar = str | int | float | bool | None


def signature_fields(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Scalar]:
    """What determines the run: the leaves that count, with what a place holds instead of the place.

    A location that exists is replaced by `sha256:<digest of its content>`; one that does not (the name
    of a model on a hub) stays as it is.
    Raises: UserError if a folder that is set does not exist.
    """
    tree = plain(cfg)
    root = Path(str(tree.get("root") or "."))
    return {
        key.name: _content(key, root) if key.facts.place and key.value else _scalar(key.value)
        for key in sorted(walk(tree))
        if key.facts.affects_result
    }


def signature(cfg: DictConfig | Mapping[str, Any]) -> str:
    """The run's name: 12 hexadecimal characters.

    Raises: UserError as signature_fields.
    """
    return signature_of(signature_fields(cfg))


def signature_of(fields: Mapping[str, Scalar]) -> str:
    """The signature of known fields."""
    canonical = json.dumps(dict(fields), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:SIGNATURE_CHARS]


def acting_signature(fields: Mapping[str, Scalar]) -> str:
    """Digest of what decides an episode of the reference policy: equal for runs that share V*'s samples."""
    return signature_of({key: value for key, value in fields.items() if "reference" in facts_of(key).decides})


def _content(key: Key, root: Path) -> Scalar:
    """What a place holds; of what is not there, its name."""
    place = Path(str(key.value)).expanduser()
    if place.exists():
        return f"sha256:{content_digest(place, cache=Root(root).digests)}"
    if key.facts.place == "folder":
        raise UserError(f"no such folder: {key.value}", where=key.name, remedy=f"give {key.name}=FOLDER")
    return str(key.value)


def _scalar(value: Any) -> Scalar:
    return json.dumps(value, sort_keys=True) if isinstance(value, list | tuple | Mapping) else value


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
