"""Builds what a config group names by `_target_`; imports it only then.

Hydra's own instantiate wraps every error in one of its own; a user's mistake has to stay one line.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
from collections.abc import Mapping
from typing import Any, Protocol

from webshop_rl.config.file_errors import unimportable
from webshop_rl.errors import UserError


def construct(group: Mapping[str, Any], **extra: Any) -> Any:
    """Call the class or function that `_target_` names with the group's other keys.

    Args:
        group: plain values (not OmegaConf nodes), `_target_` among them.
        extra: further keyword arguments, which no config holds.
    Raises: UserError if there is no such class or function, its module cannot be imported, or it takes other
        arguments; whatever it raises itself.
    """
    arguments = {key: value for key, value in group.items() if key != "_target_"}
    target = str(group["_target_"])
    module, _, name = target.rpartition(".")
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise unimportable(error) from error
        raise UserError(f"there is no module {error.name}", where=f"_target_: {target}") from error
    except ValueError as error:
        raise UserError("names no module", where=f"_target_: {target}", remedy="MODULE.CLASS") from error
    except Exception as error:  # whatever a file that is being written may raise
        raise unimportable(error) from error
    call = getattr(imported, name, None)
    if call is None:
        raise UserError(f"{module} has no {name}", where=f"_target_: {target}")
    try:
        inspect.signature(call).bind(**arguments, **extra)
    except TypeError as error:
        raise UserError(
            str(error), where=target, remedy="it is called with every key of its YAML file, name among them"
        ) from error
    return call(**arguments, **extra)


def construct_shop(group: Mapping[str, Any], protocol: type | None = None) -> Any:
    """The shop of an env group; shops are immutable, so each is built once a process.

    Args:
        protocol: what it must have.
    Raises: UserError if it lacks some of that, its data is missing or broken, or a split contains no goal.
    """
    return _shop(json.dumps(dict(group), sort_keys=True), protocol)


@functools.lru_cache(maxsize=8)
def _shop(group: str, protocol: type | None) -> Any:
    shop = construct(json.loads(group))
    if protocol and (absent := _lacking(shop, protocol)):
        raise UserError(
            f"lacks {', '.join(absent)}",
            where=f"{type(shop).__module__}.{type(shop).__name__}",
            remedy=f"{protocol.__module__}.{protocol.__name__} says what each is",
        )
    for split in ("train", "val", "test"):
        if not shop.goals(split):
            raise UserError(f"the {split} split contains no goal", where="env", remedy="use more products")
    return shop


def _lacking(built: object, protocol: type) -> list[str]:
    """Names that a protocol asks for and an object does not have."""
    bases = [
        base for base in protocol.__mro__ if getattr(base, "_is_protocol", False) and base is not Protocol
    ]
    asked = sorted({name for base in bases for name in (*vars(base), *inspect.get_annotations(base))})
    return [name for name in asked if not name.startswith("_") and not hasattr(built, name)]
