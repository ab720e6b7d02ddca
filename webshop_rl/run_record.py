"""What a run has recorded of itself besides its numbers: name, params, tags, goals."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from webshop_rl.config import RunConfig
from webshop_rl.envs.goal_lists import names
from webshop_rl.envs.types import Shop
from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.config import Destination
from webshop_rl.tracking.lineage import MAX_DIGEST_CHARS
from webshop_rl.tracking.tracker import Dataset, Tracker, open_tracker, user_name

SPLITS: Final = ("train", "val", "test")
# What is shown of a checkpoint beside those of other runs.
TESTED: Final = ("test/score", "test/success", "test/score_by_product", "test/success_by_product")
_FIRST_PARAMS: Final = ("algo.name", "model.name", "env.name", "lr", "seed", "num_updates")


def open_record(run_dir: Path, cfg: RunConfig, shop: Shop, rank: int) -> Tracker:
    """Begin or continue the record of the run in a folder.

    Raises: as tracker.open_tracker.
    """
    run = RunFolder(run_dir)
    identity = read_json(run.signature) or {}
    return open_tracker(
        run_dir,
        Destination(cfg.tracking, run.root.path, cfg.experiment_name),
        run_name=name_of(run_dir, cfg),
        params=run_params(identity.get("fields", {})),
        tags=run_tags(run_dir, cfg, shop, identity),
        sweep=identity.get("sweep"),
        rank=rank,
    )


def shop_name(cfg: RunConfig) -> str:
    """What tables and reports call where a run trains: its shop, or its curriculum."""
    return cfg.curriculum.name if cfg.curriculum.stages else cfg.env.name


def name_of(run_dir: Path, cfg: RunConfig) -> str:
    """The name of the run in a folder, as MLflow shows it."""
    return run_name(cfg, (read_json(RunFolder(run_dir).signature) or {}).get("label", ""))


def run_name(cfg: RunConfig, label: str) -> str:
    """What MLflow calls a run: first what tells it from others, then what it is.

    Args:
        label: what tells it from the others of its sweep; "" for learning rate and seed.
    """
    label = label or f"lr={cfg.lr:g} seed={cfg.seed}"
    named = {word.partition("=")[2] for word in label.split()}
    return " ".join([label, *(n for n in (cfg.algo.name, cfg.model.name, cfg.env.name) if n not in named)])


def run_params(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What MLflow shows as a run's params: first what runs are usually told apart by; no class to be made.

    Args:
        fields: what determines the run, as launching.prepare writes it.
    """
    shown = {key: value for key, value in fields.items() if not key.endswith("_target_")}
    return {key: shown[key] for key in _FIRST_PARAMS if key in shown} | shown


def run_tags(folder: Path, cfg: RunConfig, shop: Shop, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What MLflow shows of a run besides its params.

    Args:
        folder: of the run.
        identity: as launching.prepare writes it.
    """
    git = identity.get("git") or {}
    return {
        "signature": identity.get("signature", folder.name),
        "sweep": identity.get("sweep") or "",
        "code_digest": identity.get("code_digest", ""),
        "git_commit": git.get("commit", "") if isinstance(git, dict) else str(git),
        "git_dirty": git.get("dirty", "") if isinstance(git, dict) else "",
        "seed": cfg.seed,
        "curriculum": cfg.curriculum.name,
        "planned_updates": cfg.planned_updates,
        "split_digest": shop.split_digest(),
        "data_digest": shop.digest(),
        "shop_remarks": "; ".join(shop.remarks),
        "host": platform.node(),
        "folder": str(folder.resolve()),
        # Under these names MLflow's pages show them.
        "mlflow.user": user_name(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "launch.py",
    }


def goals_of(split: str, shop: Shop, cfg: RunConfig) -> Dataset:
    """The goals of a split, with the digest of which goal is in which split."""
    goals = shop.goals(split)
    return Dataset(
        name=f"{shop_name(cfg)} {split}",
        digest=shop.split_digest()[:MAX_DIGEST_CHARS],
        context=split,
        source=f"{type(shop).__module__}.{type(shop).__name__}",
        profile={"num_goals": len(goals), "num_products": len({asin for _, asin in names(goals)})},
    )
