"""The identity of a run: what of its configuration can change its numbers, and the hash of that.

Where things lie and on what machine they run never enters; what files hold does. So the same
experiment has the same signature in every checkout, on a laptop and on a cluster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from webshop_rl.config.walk import Key, facts_of, plain, walk
from webshop_rl.errors import UserError
from webshop_rl.launching.content import content_digest
from webshop_rl.storage.folders import Root

SIGNATURE_CHARS = 12

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
    """The signature of fields that are at hand already."""
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
