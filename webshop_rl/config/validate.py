"""Checks of a configuration: of its values alone, and, a step of its own, of the data they name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig

from webshop_rl.config.budget import planned_updates_of
from webshop_rl.config.engine import find_engine
from webshop_rl.config.fields import UNSET, violation
from webshop_rl.config.groups import ConfigGroup, EnvConfig, ModelConfig, Section
from webshop_rl.config.hydra_adapter import missing, no_such_key, removed
from webshop_rl.config.stages import check_stages, stage_groups
from webshop_rl.config.walk import Tree, absent, plain, schema_of, section_schemas, walk
from webshop_rl.errors import UserError
from webshop_rl.storage.folders import Root
from webshop_rl.storage.weights import find_weights, read_header


def validate(cfg: DictConfig | Mapping[str, Any], chosen: Mapping[str, str] | None = None) -> None:
    """Check every value against the range its schema declares, and that none is missing.

    Looks at nothing but the configuration, and changes nothing.
    A key that no schema declares (`+key=value` adds one) is refused: nobody would read it.

    Args:
        chosen: options of the config groups, as far as they are known.
    Raises: UserError naming the first offending key.
    """
    tree = plain(cfg)
    for name in absent(tree):
        raise removed(name)
    for key in walk(tree):
        if not key.declared:
            raise no_such_key(key.name)
        if isinstance(key.value, str) and key.value == UNSET:
            raise missing(key.name, chosen)
        if isinstance(key.value, float) and math.isnan(key.value):
            raise UserError("is not a number", where=key.name, remedy="give a number")
        if problem := violation(key.value, key.facts):
            raise UserError(f"{key.value!r} is out of range", where=key.name, remedy=problem)
    if not str(tree["root"]).strip():
        raise UserError("is empty", where="root", remedy="root=FOLDER; a shell variable may be unset")
    planned_updates_of(tree)
    _check_names(tree, chosen or {})
    for name, schema in section_schemas(tree):
        if issubclass(schema, Section):
            schema.check(tree[name])
            schema.check_with(tree)
    check_stages(tree)


def _check_names(tree: Tree, chosen: Mapping[str, str]) -> None:
    """See that an algorithm has the name of what trains, and a shop that of its file.

    A file copied from another may keep the other's name or schema, and tables call it by its name.
    """
    name, target = tree["algo"]["name"], str(tree["algo"]["_target_"])
    room = target.split(".")[2] if target.startswith("webshop_rl.algos.") else name
    if name != room:
        raise UserError(
            f"{name} is not what trains: {target}",
            where="algo.name",
            remedy=f"name: {room}, or another algorithm's schema: defaults: [/base_algo_{name}, _self_]",
        )
    option = chosen.get("env", "")
    if option and tree["env"]["name"] != Path(option).name:
        raise UserError(
            f"{tree['env']['name']} is not the name of conf/env/{option}.yaml",
            where="env.name",
            remedy=f"name: {Path(option).name}; tables and reports call the shop so",
        )


def with_data(tree: Tree) -> Tree:
    """See that the data, weights and engine that a valid configuration names are there.

    What a run would stumble over in its first second is found now, before anything is queued, and cheaply:
    no catalogue is built and no weights are loaded.

    Returns: the configuration with values that only a look can tell: of a model on a hub, the commit that
        `model.revision` stands for.
    Raises: UserError naming the first thing that is missing.
    """
    find_engine(tree)
    found: Tree = {}
    for name, schema in section_schemas(tree):
        if issubclass(schema, ConfigGroup) and (values := schema.find(tree[name])):
            found[name] = {**tree[name], **values}
    env_schema = cast(type[EnvConfig], schema_of(EnvConfig, tree["env"]["_target_"]) or EnvConfig)
    for group in stage_groups(tree["env"], tree["curriculum"]["stages"]):
        env_schema.find(group)
    if tree["init_from"]:
        found["init_from"] = str(_initial_weights(tree))
    return {**tree, **found}


def _initial_weights(tree: Tree) -> Path:
    """The file of weights that a run starts from. Raises: UserError if it is missing or of another model."""
    model = tree["model"]
    if model["lora"]["enabled"]:
        raise UserError(
            "adapters start at zero, beside a model's own weights",
            where="init_from",
            remedy="model.lora.enabled=false, or model.path=FOLDER for other weights of the model",
        )
    root = Root(Path(str(tree["root"])).expanduser())
    path = find_weights(str(tree["init_from"]), root, int(tree["seed"]))
    schema = cast(type[ModelConfig], schema_of(ModelConfig, model["_target_"]) or ModelConfig)
    if differing := schema.misfit(model, read_header(path).shapes):
        raise UserError(
            f"the weights are of another model: {differing}", where="init_from", remedy="model.KEY=..."
        )
    return path.resolve()
