"""Plays an evaluation and puts it on record: episodes, table of goals, metrics, MLflow."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from webshop_rl.build import Acting, build_agent, build_algorithm, build_shop, choose_device
from webshop_rl.config import RunConfig
from webshop_rl.distributed.ranks import Ranks
from webshop_rl.envs.types import Goal, Shop
from webshop_rl.errors import UserError
from webshop_rl.evaluate.configuration import Configured, Request
from webshop_rl.evaluate.target import Kind, Target
from webshop_rl.evaluate.weights import checkpoint_of, load_weights
from webshop_rl.evaluation.episodes import describe_episodes, evaluation_specs
from webshop_rl.evaluation.evaluator import Evaluator
from webshop_rl.evaluation.intervals import compare
from webshop_rl.evaluation.policies import Policy, play_network, scripted_policies
from webshop_rl.evaluation.records import Record, read_records
from webshop_rl.evaluation.tables import Result, result_markdown
from webshop_rl.launching.prepare import git_state
from webshop_rl.models.shape import most_threads
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Trajectory
from webshop_rl.run_record import goals_of, run_params, run_tags, shop_name
from webshop_rl.source import code_digest
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.weights import COMPLETE
from webshop_rl.tracking.client import DESCRIPTION_TAG
from webshop_rl.tracking.config import Destination
from webshop_rl.tracking.journal import journalled_end
from webshop_rl.tracking.mirror import Mirror
from webshop_rl.tracking.prepare import may_write_here
from webshop_rl.tracking.tracker import open_tracker
from webshop_rl.training.checkpoint import Checkpoint

Report = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Evaluated:
    """What came of an evaluation.

    Attributes:
        folder: where it is on record.
        result: as intervals.compare returns it; the policy that was asked for is the main one.
        records: episodes of that policy.
        again: whether it was on record already and nothing had to be played.
    """

    folder: Path
    result: Result
    records: list[Record]
    again: bool


def evaluate(target: Target, request: Request, configured: Configured, report: Report) -> Evaluated:
    """Play what is not on record yet, and record it; the scripted policies play the same episodes.

    Args:
        report: as rollout.Collector's.
    Raises: UserError if the weights do not fit, or another process is at work on the same evaluation.
    """
    cfg = configured.cfg
    threads = cfg.hardware.threads or most_threads(asdict(cfg.model))
    if threads is not None:
        torch.set_num_threads(threads)
    shop = build_shop(cfg.env, cfg.curriculum)
    goals = _goals(shop, request)
    specs = evaluation_specs(goals, request.episodes, cfg.evaluation.seed)
    checkpoint = checkpoint_of(target)
    fields = {**configured.fields, **_identity(target, checkpoint, request)}
    place = RunFolder(_folder(cfg, fields))
    # A network is on record under the split that it plays.
    name = f"baseline/{target.name}" if target.kind is Kind.SCRIPTED else request.split
    destination = Destination.of(cfg)
    again = place.result.is_file()
    traced = not destination.config.traces or place.traces.is_dir()
    if again and traced and journalled_end(place)[0] == "FINISHED":
        # It ended when it ended; only a tracker that was away may lack it.
        _replay(place.path, destination)
        records = read_records(place.episodes(name)) or []
        return Evaluated(place.path, read_json(place.result) or {}, records, again)
    step = checkpoint.update if checkpoint else 0
    label = f"{target.name} at update {step}" if checkpoint else target.name
    identity = {"signature": _signature(target), "code_digest": code_digest(), "git": git_state()}
    tags = run_tags(place.path, cfg, shop, identity) | {
        "mlflow.source.name": "webshop_rl.evaluate",
        "kind": "evaluation",
        "target": target.name,
        "split": request.split,
    }
    run_name = f"evaluate {label} on {cfg.env.name} {request.split}"
    params = run_params(fields)
    with open_tracker(place.path, destination, run_name=run_name, params=params, tags=tags) as tracker:
        replace_file(place.config, OmegaConf.to_yaml(OmegaConf.create(asdict(cfg))), durable=False)
        tracker.artifact(place.config)
        tracker.dataset(goals_of(request.split, shop, cfg))

        def play(specs: Sequence[EpisodeSpec]) -> list[Trajectory]:
            return _play_network(configured, shop, checkpoint, specs, report)

        scripted = {policy.name: policy for policy in scripted_policies(shop)}
        asked = scripted.pop(name, Policy(name, label, play))
        evaluator = Evaluator(specs, tracker, place.path, Ranks())
        main = evaluator.evaluate(asked, step, traces=True)
        others = [evaluator.evaluate(policy, step) for policy in scripted.values()]
        played = describe_episodes(shop, request.split, main.records)
        result = compare(f"{label}: {shop_name(cfg)}, {played}", [main, *others])
        tracker.tags({DESCRIPTION_TAG: result_markdown(result)})
        replace_file(place.result, json.dumps(result, indent=1), durable=False)
    return Evaluated(place.path, result, main.records, again)


def _goals(shop: Shop, request: Request) -> Sequence[Goal]:
    goals = shop.goals(request.split)
    if request.goals is None:
        return goals
    first, end = request.goals
    if end > len(goals):
        raise UserError(
            f"the {request.split} split has {len(goals)} goals", where="goals", remedy="ask for fewer"
        )
    return goals[first:end]


def _play_network(
    configured: Configured,
    shop: Shop,
    checkpoint: Checkpoint | None,
    specs: Sequence[EpisodeSpec],
    report: Report,
) -> list[Trajectory]:
    cfg = configured.cfg
    # A model may be made of a shop's words: of those that it was trained with.
    home = build_shop(configured.home.env, configured.home.curriculum)
    critic = checkpoint is not None and build_algorithm(cfg.algo).needs_critic
    agent = build_agent(cfg.model, home, critic=critic, device=choose_device(cfg.hardware.device))
    if checkpoint is not None:
        load_weights(checkpoint, agent)
    collector = Acting.of(cfg.rollout, cfg.view, agent).collector(agent, shop, report=report)
    return play_network(collector, specs, cfg.evaluation.temperature, Ranks())


def _identity(target: Target, checkpoint: Checkpoint | None, request: Request) -> dict[str, Any]:
    """What an evaluation depends on besides the configuration."""
    fields: dict[str, Any] = {"split": request.split, "episodes": request.episodes or "all"}
    if request.goals is not None:
        fields["goals"] = f"{request.goals[0]}:{request.goals[1]}"
    if checkpoint is None:
        return {"target": str(target.kind) if target.kind is Kind.FOLDER else target.name, **fields}
    weights = hashlib.sha256((checkpoint.path / COMPLETE).read_bytes()).hexdigest()[:16]
    return {"target": target.name, "update": checkpoint.update, "weights": weights, **fields}


def _signature(target: Target) -> str:
    """Of the run that is evaluated; "" if it is not a run."""
    if target.kind is not Kind.RUN:
        return ""
    assert target.place is not None
    return str((read_json(RunFolder(target.place).signature) or {}).get("signature", target.name))


def _folder(cfg: RunConfig, fields: Mapping[str, Any]) -> Path:
    """<root>/evaluations/<digest of what determines the numbers>; the next free one for rerun=true."""
    made_of = json.dumps({**fields, "code": code_digest()}, sort_keys=True)
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    folder = Root(Path(cfg.root)).evaluations / digest
    number = 0
    while cfg.rerun and folder.exists():
        number += 1
        folder = folder.with_name(f"{digest}-r{number}")
    return folder


def _replay(folder: Path, destination: Destination) -> None:
    """Send the tracker what it has not taken; one that is away now stops nothing."""
    if destination.mirrored and may_write_here(destination.uri):
        with contextlib.suppress(Exception):
            Mirror(folder, destination).sync()
