"""One walk over a configuration's keys with their facts.

Signature, sweep name, what a sweep may vary, known keys, ranges, places and seeds are filters of it.
"""

from __future__ import annotations

import functools
import importlib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from webshop_rl.config.fields import FACTS, UNSET, Facts
from webshop_rl.config.file_errors import no_dataclass, unimportable
from webshop_rl.config.groups import ConfigGroup
from webshop_rl.config.schema import RunConfig

PACKAGE = Path(__file__).parents[1]
Tree = dict[str, Any]
_Table = Mapping[str, tuple[Facts, type | None]]


class Key(NamedTuple):
    """A leaf of a configuration.

    Attributes:
        name: dotted.
        declared: whether a schema has it; if not, its facts are those of the section it stands in.
    """

    name: str
    value: Any
    facts: Facts
    declared: bool


def plain(cfg: DictConfig | Mapping[str, Any]) -> Tree:
    """A configuration as plain nested values, interpolations resolved."""
    tree = OmegaConf.to_container(cfg, resolve=True) if isinstance(cfg, DictConfig) else cfg
    return typing.cast(Tree, tree)


def walk(tree: Mapping[str, Any]) -> Iterator[Key]:
    """Every leaf of a run's configuration, sections in the order of the tree.

    Args:
        tree: nested plain values.
    """
    yield from _walk(tree, RunConfig, Facts(), "")


def absent(tree: Mapping[str, Any]) -> Iterator[str]:
    """Keys that a run's schemas have and its configuration lacks; of a group without an option, the group."""
    yield from _absent(tree, RunConfig, "")


def known_keys() -> Iterator[tuple[str, Facts]]:
    """Every key that some schema has, sections among them, with its facts."""
    yield from _known(RunConfig, Facts(), "")


def facts_of(name: str) -> Facts:
    """The facts of a dotted key; of one that no schema has, those of its section."""
    while name:
        if name in _facts_by_name():
            return _facts_by_name()[name]
        name = name.rpartition(".")[0]
    return Facts()


@functools.cache
def seed_keys() -> tuple[str, ...]:
    """The keys in which repetitions of a run differ."""
    return tuple(dict.fromkeys(name for name, facts in known_keys() if facts.seed))


@functools.cache
def group_types() -> Mapping[str, type]:
    """The config groups: the sections that a file of conf/<group>/ fills, with their base schemas."""
    types = {name: kind for name, (_, kind) in _table(RunConfig, Facts()).items() if kind}
    return {name: kind for name, kind in types.items() if issubclass(kind, ConfigGroup)}


def section_schemas(tree: Mapping[str, Any]) -> Iterator[tuple[str, type]]:
    """Each section of a configuration with its schema."""
    for name, (_, kind) in _table(RunConfig, Facts()).items():
        if kind and isinstance(section := tree.get(name), Mapping):
            yield name, schema_of(kind, section.get("_target_")) or kind


@functools.cache
def variants(base: type) -> tuple[type, ...]:
    """The schemas that a section may have: base, and what the rooms derive from it.

    Rooms are found by their folders, so that a new shop or algorithm is one folder and one YAML file.

    Raises: UserError if one cannot be imported, or is not a dataclass.
    """
    for path in (*sorted(PACKAGE.glob("envs/*/config.py")), *sorted(PACKAGE.glob("algos/*/config.py"))):
        module = ".".join(("webshop_rl", *path.relative_to(PACKAGE).with_suffix("").parts))
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever a file that is being written may raise
            raise unimportable(error) from error
    importlib.import_module("webshop_rl.models.config")
    return (base, *_derived(base))


def _derived(base: type) -> Iterator[type]:
    derived: list[type] = base.__subclasses__()
    for schema in derived:
        if "_target_" in vars(schema) and "__dataclass_fields__" not in vars(schema):
            raise no_dataclass(schema)
        if "_target_" in vars(schema):  # else it is a base itself, or what the schema builds
            yield schema
        yield from _derived(schema)


def schema_of(base: type, target: object) -> type | None:
    """The variant of a section whose `_target_` is the given one."""
    return next((s for s in variants(base) if getattr(s, "_target_", None) == target), None)


@functools.cache
def _table(schema: type, section: Facts) -> _Table:
    """Facts of each key of a schema and, if it is a section, its schema."""
    types = typing.get_type_hints(schema)
    return {
        f.name: (
            section.of(f.metadata.get(FACTS, {})),
            types[f.name] if is_dataclass(types[f.name]) else None,
        )
        for f in fields(schema)
    }


def _walk(tree: Mapping[str, Any], schema: type | None, section: Facts, prefix: str) -> Iterator[Key]:
    table = _table(schema, section) if schema else {}
    for key, value in tree.items():
        facts, kind = table.get(str(key), (section.of({}), None))
        if isinstance(value, Mapping) and value:
            inner = schema_of(kind, value.get("_target_")) or kind if kind else None
            yield from _walk(value, inner, facts, f"{prefix}{key}.")
        else:
            yield Key(f"{prefix}{key}", value, facts, schema is None or str(key) in table)


def _absent(tree: Mapping[str, Any], schema: type, prefix: str) -> Iterator[str]:
    for name, (_, kind) in _table(schema, Facts()).items():
        value = tree.get(name, UNSET)
        if name not in tree or (kind and value == UNSET):
            yield f"{prefix}{name}"
        elif kind and isinstance(value, Mapping):
            yield from _absent(value, schema_of(kind, value.get("_target_")) or kind, f"{prefix}{name}.")


def _known(schema: type, section: Facts, prefix: str) -> Iterator[tuple[str, Facts]]:
    for name, (facts, kind) in _table(schema, section).items():
        yield f"{prefix}{name}", facts
        if kind:
            for variant in variants(kind):
                yield from _known(variant, facts, f"{prefix}{name}.")


@functools.cache
def _facts_by_name() -> Mapping[str, Facts]:
    found: dict[str, Facts] = {}
    for name, facts in known_keys():
        found.setdefault(name, facts)
    return found
