"""What Hydra and OmegaConf complain of, in one line: what, where, remedy."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from webshop_rl.errors import EXIT_BAD_INPUT, UserError

ERRORS = (HydraException, OmegaConfBaseException)
_FULL = "HYDRA_FULL_ERROR"


def as_user_error(error: Exception) -> UserError:
    """The same in one line.

    Args:
        error: of the composition of a configuration.
    """
    text = str(error).strip()
    lines = text.splitlines() or [type(error).__name__]
    if found := re.search(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", text):
        return no_such_key(found.group(1) or found.group(2))
    if found := re.match(r"Error merging override ([^=]+)=(.*)", lines[0]):
        cause = str(error.__cause__ or "").strip().splitlines()
        return UserError(
            cause[0] if cause else f"{found.group(2)!r} does not fit", where=found.group(1).lstrip("+")
        )
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        group, name = found.groups()
        offered = [o for o in re.findall(r"^\t(\w+)$", text, re.MULTILINE) if not o.startswith("base_")]
        return UserError(f"there is no {name}", where=group, remedy=f"there are {', '.join(offered)}")
    if found := re.match(r"Ambiguous value for argument '([^=]+)=", lines[0]):
        return UserError("several values", where=found.group(1), remedy="-m sweeps over them")
    key = getattr(error, "full_key", None)
    if key:
        return UserError(lines[0], where=key)
    return UserError(lines[0], where="configuration", remedy="write group=option or key=value; see --help")


def no_such_key(key: str) -> UserError:
    """For a key that nobody reads; suggests one that is spelt alike."""
    known = sorted(_known_keys())
    group = key.partition(".")[0]
    if key in known:
        return UserError(
            f"the {group} chosen has no such key", where=key, remedy=f"another does: {group}=..."
        )
    close = difflib.get_close_matches(key, known, n=1)
    remedy = f"did you mean {close[0]}?" if close else "--cfg job shows all keys of the groups chosen"
    return UserError("there is no such key", where=key, remedy=remedy)


def _known_keys() -> set[str]:
    """Every key of the schemas that config.register has told Hydra of, dotted."""
    keys: set[str] = set()
    for name, entry in ConfigStore.instance().repo.items():
        if isinstance(entry, ConfigNode):
            keys.update(_keys(entry.node))
        elif name != "hydra":
            keys.update(key for schema in entry.values() for key in _keys(schema.node, f"{name}."))
    return keys


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, DictConfig):
        for key in node:
            yield f"{prefix}{key!s}"
            yield from _keys(node._get_node(key), f"{prefix}{key!s}.")


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """Within, what Hydra raises ends the process with one line and exit code 2.

    With HYDRA_FULL_ERROR=1 in the environment it is raised instead.
    """
    wanted = os.environ.get(_FULL)
    os.environ[_FULL] = "1"  # else Hydra prints a page and exits with code 1 itself
    try:
        yield
    except ERRORS as error:
        if wanted == "1":
            raise
        print(f"error: {as_user_error(error)}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
