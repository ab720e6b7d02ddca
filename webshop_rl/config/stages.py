"""The shops of a curriculum: `env` with a stage's own keys in the place of its values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from webshop_rl.config.fields import violation
from webshop_rl.config.groups import EnvConfig
from webshop_rl.config.walk import Tree, plain, schema_of, walk
from webshop_rl.errors import UserError

WHERE: Final = "curriculum.stages"
# Metrics have the names of stages in theirs (tracking.names).
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_]*")


def stage_groups(env: Mapping[str, Any], stages: list[Mapping[str, Any]]) -> list[Tree]:
    """The env group of each stage, in their order; none without a curriculum."""
    return [{**env, **stage} for stage in stages]


def check_stages(tree: Tree) -> None:
    """See that each stage of a run's configuration is a shop as `env` is.

    Raises: UserError naming the first stage that is not.
    """
    env, stages = tree["env"], tree["curriculum"]["stages"]
    names: list[str] = []
    for number, stage in enumerate(stages, start=1):
        name = stage.get("name") if isinstance(stage, Mapping) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in names:
            raise UserError(
                f"stage {number} needs a name of its own",
                where=WHERE,
                remedy="{name: small, KEY: VALUE}, the name of lower-case letters, digits and _",
            )
        names.append(name)
        _check_keys(name, env, stage)
    for name, group in zip(names, stage_groups(env, stages), strict=True):
        _check_values(name, group)


def _check_keys(name: str, env: Mapping[str, Any], stage: Mapping[str, Any]) -> None:
    unknown = [str(key) for key in stage if key not in env or key == "_target_"]
    if unknown:
        raise UserError(
            f"{name}: env={env['name']} has no key {unknown[0]}",
            where=WHERE,
            remedy="env=... is another shop",
        )


def _check_values(name: str, group: Tree) -> None:
    schema = cast(type[EnvConfig], schema_of(EnvConfig, group["_target_"]) or EnvConfig)
    try:
        typed = plain(OmegaConf.merge(OmegaConf.structured(schema), group))  # type: ignore[arg-type]
    except OmegaConfBaseException as error:
        raise UserError(f"{name}: {str(error).splitlines()[0]}", where=WHERE) from error
    for key in walk({"env": typed}):
        if problem := violation(key.value, key.facts):
            raise UserError(f"{name}: {key.name} {problem}, is {key.value!r}", where=WHERE)
    try:
        schema.check(typed)
    except UserError as error:
        raise UserError(f"{name}: {error}", where=WHERE) from error
