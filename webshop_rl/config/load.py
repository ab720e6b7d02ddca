"""Configurations with their types: the schemas made known to Hydra, and a frozen config.yaml read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml  # type: ignore[import-untyped]
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from webshop_rl.config.budget import register_resolver
from webshop_rl.config.schema import RunConfig
from webshop_rl.config.walk import Tree, absent, group_types, plain, schema_of, variants
from webshop_rl.errors import UserError


def register() -> None:
    """Make every schema known to Hydra; called once by launch.py before Hydra starts.

    They are called base_<group>_<variant>, or base_<group> where there are no variants, and stand at the
    top, not in the groups: Hydra would offer them there as options.
    """
    register_resolver()
    store = ConfigStore.instance()
    store.store(name="base_config", node=RunConfig)
    for group, base in group_types().items():
        derived = variants(base)[1:]
        if not derived:
            store.store(name=f"base_{group}", package=group, node=base)
        for schema in derived:
            store.store(name=f"base_{group}_{_variant_name(schema)}", package=group, node=schema)


def _variant_name(schema: type) -> str:
    """The folder that a schema stands in, or, where several stand in one file, its class's name."""
    room = schema.__module__.split(".")
    return room[-2] if len(room) > 3 else schema.__name__.removesuffix("Config").lower()


def load(path: Path) -> RunConfig:
    """A frozen configuration, typed.

    Args:
        path: of the config.yaml in a run's folder.
    Raises: UserError if other code wrote it, with keys that this code does not have or misses.
    """
    return as_typed(read(path), path)


def as_typed(tree: Mapping[str, Any] | DictConfig, where: Path | str = "configuration") -> RunConfig:
    """A valid configuration as typed objects.

    Raises: UserError if it does not fit the schemas.
    """
    typed = with_schemas(tree, where)
    try:
        return cast(RunConfig, OmegaConf.to_object(typed))
    except OmegaConfBaseException as error:
        raise _other_code(str(error), where) from error


def with_schemas(tree: Mapping[str, Any] | DictConfig, where: Path | str) -> DictConfig:
    """A configuration whose schemas are back in place, so that typos and wrong types are refused.

    Raises: UserError if it does not fit them.
    """
    cfg = OmegaConf.structured(RunConfig)
    try:
        for group, base in group_types().items():
            target = tree.get(group, {}).get("_target_")
            schema = base if target is None else schema_of(base, target)
            if schema is None:
                raise _other_code(f"no such {group} any more: {target}", where)
            cfg[group] = OmegaConf.structured(schema)
        typed = cast(DictConfig, OmegaConf.merge(cfg, tree))
        lacking = next(absent(plain(tree)), None)
    except (OmegaConfBaseException, AttributeError) as error:
        raise _other_code(str(error), where) from error
    if lacking:
        raise _other_code(f"{lacking} is missing", where)
    return typed


def read(path: Path) -> Tree:
    """A frozen configuration as it stands in its file. Raises: UserError if it cannot be read."""
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"cannot be read: {why}", where=str(path), remedy="rerun=true") from error
    if not isinstance(content, dict) or not content:
        raise UserError("contains no configuration", where=str(path), remedy="rerun=true")
    return cast(Tree, content)


def _other_code(why: str, where: Path | str) -> UserError:
    return UserError(
        f"the run was made by other code: {(why.splitlines() or ['?'])[0]}",
        where=str(where),
        remedy="use the code it was made with, or rerun=true",
    )
