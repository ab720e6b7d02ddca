"""The schema of a run: types and ranges. Imports no torch, so `--help` and `--cfg job` stay fast.

Values live in conf/. Each room declares the schema of its own config group; this module finds the
environments and algorithms by folder, so that a new one is one folder and one YAML file.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from webshop_rl.budget import planned_updates_of, register_resolver
from webshop_rl.composition import no_such_key, removed
from webshop_rl.construct import construct_shop
from webshop_rl.errors import UserError
from webshop_rl.ranges import choice, ranged, violation

PACKAGE = Path(__file__).parent


@dataclass
class RolloutConfig:
    """How the policy acts; keys are explained in conf/config.yaml."""

    decoding: str = choice("admissible", "free", default="admissible")
    temperature: float = ranged(1.0, gt=0)
    top_p: float = ranged(1.0, gt=0, le=1)
    max_reply_tokens: int = ranged(64, ge=1)
    max_query_words: int = ranged(8, ge=1)
    think: bool = False
    max_think_tokens: int = ranged(64, ge=1)
    few_shot: int = ranged(0, ge=0, le=2)
    list_actions: bool = False
    invalid_penalty: float = ranged(0.0, ge=0)
    context_overflow: str = choice("truncate", "drop_oldest", default="truncate")
    batch_size: int = ranged(64, ge=1)


@dataclass
class VstarConfig:
    """The reference returns that V* is estimated from."""

    adaptive: bool = False
    seed: int = ranged(0, ge=0)


@dataclass
class OptimConfig:
    """The optimiser step."""

    grad_clip: float = ranged(1.0, gt=0)
    weight_decay: float = ranged(0.0, ge=0)
    beta1: float = ranged(0.9, ge=0, lt=1)
    beta2: float = ranged(0.95, ge=0, lt=1)
    warmup_updates: int = ranged(0, ge=0)
    schedule: str = choice("constant", "linear", "cosine", default="constant")
    micro_batch_tokens: int = ranged(16384, ge=1)
    max_skipped_steps: int = ranged(20, ge=1)


@dataclass
class EvaluationConfig:
    """When and on what the policy is evaluated."""

    every: int = ranged(10, ge=1)
    val_episodes: int | None = ranged(50, ge=1)
    test_episodes: int | None = ranged(100, ge=1)
    temperature: float = ranged(0.0, ge=0)
    seed: int = ranged(1000, ge=0)


@dataclass
class CheckpointConfig:
    """When the run is saved."""

    every: int = ranged(10, ge=1)


@dataclass
class RunConfig:
    """The whole configuration of a run."""

    lr: float = ranged(gt=0, lt=1)
    seed: int = ranged(0, ge=0)
    num_updates: int | None = ranged(ge=0)
    num_episodes: int | None = ranged(None, ge=0)
    env: Any = "???"
    algo: Any = "???"
    model: Any = "???"
    hardware: Any = "???"
    tracking: Any = "???"
    sweep: Any = "???"
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    vstar: VstarConfig = field(default_factory=VstarConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    control: str = choice("none", "permuted_rewards", default="none")
    root: str = "runs"
    experiment_name: str = "webshop-rl"
    retry: bool = False
    rerun: bool = False
    on_code_change: str = choice("refuse", "reuse", "rerun", default="refuse")


def _discover(room: str) -> Iterator[tuple[str, type]]:
    """(name, dataclass) of every <room>/<name>/config.py that exports CONFIG."""
    for path in sorted((PACKAGE / room).glob("*/config.py")):
        module = importlib.import_module(f"webshop_rl.{room.replace('/', '.')}.{path.parent.name}.config")
        yield path.parent.name, module.CONFIG


def register() -> None:
    """Make every schema known to Hydra; called once by launch.py before Hydra starts."""
    from webshop_rl.launching.config import HARDWARE_CONFIG, SWEEP_CONFIG
    from webshop_rl.models.config import SCHEMAS
    from webshop_rl.tracking.config import TrackingConfig

    register_resolver()
    store = ConfigStore.instance()
    store.store(name="base_config", node=RunConfig)
    # At the top, not in the groups: Hydra would offer them there as options.
    for group, room in (("env", "envs"), ("algo", "algos")):
        for name, schema in _discover(room):
            store.store(name=f"base_{group}_{name}", package=group, node=schema)
    for name, schema in SCHEMAS.items():
        store.store(name=f"base_model_{name}", package="model", node=schema)
    for group, schema in (
        ("hardware", HARDWARE_CONFIG),
        ("sweep", SWEEP_CONFIG),
        ("tracking", TrackingConfig),
    ):
        store.store(name=f"base_{group}", package=group, node=schema)


def validate(cfg: DictConfig) -> None:
    """Check every value against the range its schema declares, that none is missing, that data is there.

    What only a look can tell is set: of a model on a hub, the commit that `model.revision` stands for.
    A key that no schema declares (`+key=value` adds one) is refused: nobody would read it.

    Raises: UserError naming the first offending key, file or record.
    """
    for key in _removed(cfg):
        raise removed(key)
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise UserError("a value is missing", where=missing[0], remedy=f"add {missing[0]}=...")
    if not str(cfg.root).strip():
        raise UserError("is empty", where="root", remedy="root=FOLDER; a shell variable may be unset")
    for key, value, metadata in _declared(cfg, ""):
        if isinstance(value, float) and math.isnan(value):
            raise UserError("is not a number", where=key, remedy="give a number")
        problem = violation(value, metadata)
        if problem:
            raise UserError(f"{value!r} is out of range", where=key, remedy=problem)
    planned_updates_of(cfg)
    _preflight(cfg)


def _removed(cfg: DictConfig) -> Iterator[str]:
    """Keys of the run's own schema that are not in the configuration any more."""
    for name in RunConfig.__dataclass_fields__:
        if name not in cfg:
            yield name
        elif is_dataclass(schema := OmegaConf.get_type(cfg, name)):
            group = cfg._get_node(name)
            assert isinstance(group, DictConfig)
            yield from (f"{name}.{f.name}" for f in fields(schema) if f.name not in group.keys())  # noqa: SIM118


def _preflight(cfg: DictConfig) -> None:
    """What a run would stumble over in its first second is found now, before anything is queued.

    The shop is built (and kept: a run in this process uses it). A schema may add a look of its own, a
    static method `preflight(group)`, cheap and without torch, which may return values of keys that are
    known only now.
    """
    construct_shop(cast(dict[str, Any], OmegaConf.to_container(cfg.env, resolve=True)))
    for group in (cfg.model, cfg.algo):
        look = getattr(OmegaConf.get_type(group), "preflight", None)
        if look is not None:
            found = look(cast(dict[str, Any], OmegaConf.to_container(group, resolve=True)))
            for key, value in (found or {}).items():
                group[key] = value


def _declared(cfg: DictConfig, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value, field metadata) of every leaf that has a schema."""
    schema = OmegaConf.get_type(cfg)
    metadata = {f.name: f.metadata for f in fields(schema)} if is_dataclass(schema) else {}
    for key in cfg:
        name = str(key)
        if is_dataclass(schema) and name not in metadata:
            raise no_such_key(f"{prefix}{name}")
        value = cfg[name]
        if isinstance(value, DictConfig):
            yield from _declared(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, metadata.get(name, {})
