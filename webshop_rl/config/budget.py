"""How long a run is: budgets in updates and in episodes, as one number of updates. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from webshop_rl.errors import UserError


def register_resolver() -> None:
    """`${unless_set:${key},value}` in a configuration: the value while key is null, null once it is set."""
    OmegaConf.register_new_resolver(
        "unless_set", lambda given, value: value if given is None else None, replace=True
    )


def planned_updates(
    num_updates: int | None,
    num_episodes: int | None,
    *,
    episodes_per_collection: int,
    updates_per_collection: int,
) -> int:
    """Updates of a whole run: the budget that is reached first counts.

    A collection is never cut: num_episodes is reached with the collection that plays the last of them.

    Args:
        num_updates: optimiser steps at most; None for no such limit.
        num_episodes: training episodes; None for no such limit.
        episodes_per_collection: goals_per_update times group_size.
        updates_per_collection: num_epochs times num_minibatches.
    Raises: UserError if both are None.
    """
    limits = [] if num_updates is None else [num_updates]
    if num_episodes is not None:
        limits.append(-(-num_episodes // episodes_per_collection) * updates_per_collection)
    if not limits:
        raise UserError(
            "the run has no end", where="num_updates", remedy="give num_updates=... or num_episodes=..."
        )
    return min(limits)


def planned_updates_of(cfg: DictConfig | Mapping[str, Any]) -> int:
    """The same from a run's configuration.

    Args:
        cfg: nested as composed, or flat with dotted keys as a run's identity records it.
    """

    def algo(key: str) -> int:
        nested = cfg.get("algo") or {}
        return int(nested.get(key) or cfg.get(f"algo.{key}") or 1)

    return planned_updates(
        cfg.get("num_updates"),
        cfg.get("num_episodes"),
        episodes_per_collection=algo("goals_per_update") * algo("group_size"),
        updates_per_collection=algo("num_epochs") * algo("num_minibatches"),
    )
