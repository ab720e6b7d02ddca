"""The identity of a run: what of its configuration can change its numbers, and the hash of that.

Where things lie and on what machine they run never enters; what files hold does. So the same
experiment has the same signature in every checkout, on a laptop and on a cluster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from webshop_rl.errors import UserError
from webshop_rl.launching.runs.content import content_digest
from webshop_rl.storage.folders import Root

SIGNATURE_CHARS = 12

# Sections and keys that cannot change the numbers of a run. Everything else counts, whatever
# section an environment, a model or an algorithm adds.
OUTSIDE = (
    "root",
    "hardware",
    "tracking",
    "sweep",
    "experiment_name",
    "checkpoint",
    "retry",
    "rerun",
    "on_code_change",
)
# What decides an episode of the reference policy, less what is known not to (memory, the learner's side).
_ACTING = ("env", "model", "rollout", "vstar.seed")
_NOT_ACTING = (
    "rollout.batch_size",
    "model.lr_scale",
    "model.micro_batch_tokens",
    "model.gradient_checkpointing",
    "model.lora",
)
_LOCATION_SUFFIXES = ("_dir", "_path", "_file")

Scalar = str | int | float | bool | None


def is_location(key: str) -> bool:
    """Whether a dotted key names a place on disk, by its last part: root, path, *_dir, *_path, *_file."""
    last = key.rpartition(".")[2]
    return last in ("root", "path") or last.endswith(_LOCATION_SUFFIXES)


def flatten(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Scalar]:
    """Every leaf of a config by its dotted key, interpolations resolved; lists as JSON, sorted by key."""
    tree: Any = OmegaConf.to_container(cfg, resolve=True) if isinstance(cfg, DictConfig) else cfg
    return dict(sorted(_leaves(tree, "")))


def signature_fields(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Scalar]:
    """What determines the run: the leaves that count, with what a place holds instead of the place.

    A location that exists is replaced by `sha256:<digest of its content>`; one that does not (the name
    of a model on a hub) stays as it is.
    Raises: UserError if a `*_dir` that is set does not exist.
    """
    leaves = flatten(cfg)
    root = Path(str(leaves.get("root") or "."))
    fields = {key: value for key, value in leaves.items() if not _outside(key)}
    for key, value in fields.items():
        if is_location(key) and isinstance(value, str) and value:
            fields[key] = _held_by(key, value, root)
    return fields


def signature(cfg: DictConfig | Mapping[str, Any]) -> str:
    """The run's name: 12 hexadecimal characters.

    Raises: UserError as signature_fields.
    """
    return signature_of(signature_fields(cfg))


def signature_of(fields: Mapping[str, Scalar]) -> str:
    """The signature of fields that are at hand already."""
    canonical = json.dumps(dict(fields), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:SIGNATURE_CHARS]


def acting_signature(fields: Mapping[str, Scalar]) -> str:
    """Digest of what decides an episode of the reference policy: equal for runs that share V*'s samples."""
    acting = {key: value for key, value in fields.items() if _within(key, _ACTING)}
    return signature_of({key: value for key, value in acting.items() if not _within(key, _NOT_ACTING)})


def _outside(key: str) -> bool:
    return _within(key, OUTSIDE)


def _within(key: str, sections: Sequence[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _held_by(key: str, value: str, root: Path) -> str:
    place = Path(value).expanduser()
    if place.exists():
        return f"sha256:{content_digest(place, cache=Root(root).digests)}"
    if key.endswith("_dir"):
        raise UserError(f"no such folder: {value}", where=key, remedy=f"give {key}=FOLDER")
    return value


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Scalar]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple | Mapping):
            yield f"{prefix}{key}", json.dumps(value, sort_keys=True)
        else:
            yield f"{prefix}{key}", value
