"""Builds what a config group names by `_target_`; imports it only then.

Hydra's own instantiate wraps every error in one of its own; a user's mistake has to stay one line.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Mapping
from typing import Any

from webshop_rl.errors import UserError


def construct(group: Mapping[str, Any], **extra: Any) -> Any:
    """Call the class or function that `_target_` names with the group's other keys.

    Args:
        group: plain values (not OmegaConf nodes), `_target_` among them.
        extra: further keyword arguments, which no config holds.
    Raises: UserError if there is no such class or function; whatever it raises itself.
    """
    arguments = {key: value for key, value in group.items() if key != "_target_"}
    target = str(group["_target_"])
    module, _, name = target.rpartition(".")
    try:
        call = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"cannot import {target}: {error}", where="_target_", remedy="name a class"
        ) from error
    return call(**arguments, **extra)


def construct_shop(group: Mapping[str, Any]) -> Any:
    """The shop of an env group; shops are immutable, so each is built once a process.

    Raises: UserError if its data is missing or broken, or a split of it contains no goal.
    """
    return _shop(json.dumps(dict(group), sort_keys=True))


@functools.lru_cache(maxsize=8)
def _shop(group: str) -> Any:
    shop = construct(json.loads(group))
    for split in ("train", "val", "test"):
        if not shop.goals(split):
            raise UserError(f"the {split} split contains no goal", where="env", remedy="use more products")
    return shop
