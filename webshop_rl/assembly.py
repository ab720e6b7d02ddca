"""A run put together: its parts, from its frozen configuration; knows no algorithm and no shop by name."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from webshop_rl.algos.config import CloningConfig
from webshop_rl.build import Acting, build_agent, build_algorithm, build_sampler, choose_device
from webshop_rl.config import RunConfig
from webshop_rl.distributed.ranks import Ranks
from webshop_rl.envs.demonstrators import Demonstrator, scripted_act
from webshop_rl.envs.types import Goal, Shop
from webshop_rl.errors import UserError
from webshop_rl.evaluation.episodes import evaluation_specs
from webshop_rl.evaluation.evaluator import Evaluator
from webshop_rl.models.agent import Agent
from webshop_rl.models.initial import notes_of, start_from
from webshop_rl.preemption import StopRequest
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import Teacher
from webshop_rl.rollout.guided import Demonstrations, GuidedCollector
from webshop_rl.rollout.recorded import recorded_collector
from webshop_rl.run_record import shop_name
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.tracker import Tracker
from webshop_rl.training.display import RunDisplay
from webshop_rl.training.learner import Importance, Learner
from webshop_rl.training.reference import Reference
from webshop_rl.training.trainer import Trainer
from webshop_rl.training.vstar import Provenance, VstarSource

_REJECTED_SHOWN: Final = 20


@dataclass(frozen=True)
class RunParts:
    """What a run is put together from."""

    cfg: RunConfig
    folder: Path
    shop: Shop
    collector: Collector
    trainer: Trainer
    learner: Learner
    tracker: Tracker
    ranks: Ranks
    display: RunDisplay
    evaluator: Evaluator
    vstar: Provenance | None


def assemble(
    cfg: RunConfig,
    folder: Path,
    shop: Shop,
    tracker: Tracker,
    ranks: Ranks,
    stop: StopRequest,
    display: RunDisplay,
) -> RunParts:
    """Put a run together from its frozen configuration.

    Args:
        folder: of the run.
        shop: that the configuration names.
        tracker: where metrics go.
        ranks: that train together.
        stop: tells whether the run was asked to stop.
        display: where lines for people go.
    Raises: Preempted if it was asked to stop; UserError on bad input.
    """
    ranks.check(stop)
    algorithm = build_algorithm(cfg.algo)
    agent = build_agent(
        cfg.model, shop, critic=algorithm.needs_critic, device=choose_device(cfg.hardware.device)
    )
    if cfg.init_from is not None:
        agent = _start_from(agent, Path(cfg.init_from), folder, ranks)
    acting = Acting.of(cfg.rollout, cfg.view, agent)
    collector = acting.collector(
        agent,
        shop,
        build_sampler(cfg.rollout),
        keep_last_page=algorithm.needs_critic,
        interrupted=stop.check,
        report=display.playing,
    )
    needs_reference = algorithm.needs_reference or algorithm.needs_vstar
    reference = Reference(agent) if needs_reference else None
    if reference is None and cfg.reference.reset_every is not None:
        raise UserError(
            f"{cfg.algo.name} looks at no reference policy with these settings",
            where="reference.reset_every",
            remedy="reference.reset_every=null, or algo.kl_coef above 0",
        )
    learner = Learner(
        agent,
        reference,
        algorithm,
        lr=cfg.lr,
        num_updates=cfg.planned_updates,
        optim=cfg.optim,
        temperature=cfg.rollout.temperature,
        seed=cfg.seed,
        ranks=ranks,
        importance=None if collector.sampler.exact else Importance(cfg.rollout.importance_cap),
    )
    vstar = None
    if algorithm.needs_vstar and reference is not None:
        vstar = vstar_source(cfg, folder, acting.key(agent, shop), collector, reference)
        _record_provenance(vstar.provenance, folder, tracker, ranks, display)
    demonstrations = _demonstrations(cfg, collector, display)
    train_goals = shop.goals("train")
    if demonstrations is not None:
        train_goals = demonstrations.demonstrated(train_goals)
    if vstar is not None and cfg.vstar.min_spread > 0:
        train_goals = _with_spread(vstar, train_goals, cfg, ranks, display)
    trainer = Trainer(
        collector=collector,
        learner=learner,
        train_goals=train_goals,
        val_goals=shop.goals("val"),
        vstar=vstar,
        reference=reference if cfg.reference.reset_every is not None else None,
        judged_goals=shop.goals("train") if cfg.vstar.min_spread > 0 else (),
        config=cfg,
        tracker=tracker,
        folder=folder,
        ranks=ranks,
        stop=stop,
        report=display.update,
        warn=lambda line: display.say(f"warning: {line}"),
        say=display.say,
        notes=notes_of(agent),
        num_gpus=ranks.size if agent.network.device.type == "cuda" else 0,
        guided=demonstrations,
    )
    specs = evaluation_specs(shop.goals("test"), cfg.evaluation.test_episodes, cfg.evaluation.seed)
    return RunParts(
        cfg=cfg,
        folder=folder,
        shop=shop,
        collector=collector,
        trainer=trainer,
        learner=learner,
        tracker=tracker,
        ranks=ranks,
        display=display,
        evaluator=Evaluator(specs, tracker, folder, ranks),
        vstar=vstar.provenance if vstar else None,
    )


def _start_from(agent: Agent, weights: Path, folder: Path, ranks: Ranks) -> Agent:
    """The agent with the weights of `init_from`, which also make the reference: the same at every attempt.

    Raises: UserError if they do not fit, or are not those of the first attempt.
    """
    agent, run = start_from(agent, weights), RunFolder(folder)
    before = read_json(run.initial)
    if before is not None and before["fingerprint"] != agent.fingerprint:
        raise UserError(
            f"the weights that the run began with have changed: {weights}",
            where="init_from",
            remedy="restore them, or rerun=true",
        )
    if ranks.is_main:
        replace_file(run.initial, json.dumps({"fingerprint": agent.fingerprint}), durable=False)
    return agent


def _demonstrations(cfg: RunConfig, collector: Collector, display: RunDisplay) -> Demonstrations | None:
    """What an algorithm that clones learns from; None for one that learns from rewards."""
    algo = cfg.algo
    shop = collector.shop
    if not isinstance(algo, CloningConfig):
        return None
    if algo.records is not None:
        goals = shop.goals("train")
        found = recorded_collector(Path(algo.records), goals, collector, min_score=algo.min_score)
        for line in found.rejected[:_REJECTED_SHOWN]:
            display.say(f"warning: rejected: {line}")
        num_episodes = sum(map(len, found.episodes.values()))
        display.say(f"{num_episodes} recorded episodes to learn from, {len(found.rejected)} rejected")
        return found
    if algo.demonstrations == "demonstrator":
        teacher: Teacher = Demonstrator(shop.answers(), shop.max_steps).act
    else:
        teacher = scripted_act(algo.demonstrations)
    return GuidedCollector(collector, teacher, min_score=algo.min_score)


def vstar_source(
    cfg: RunConfig,
    folder: Path,
    key: dict[str, str],
    collector: Collector,
    reference: Reference,
) -> VstarSource:
    """V* of the goals of a run, from samples of its reference policy.

    Args:
        folder: of the run.
        key: what determines a reference episode besides goal, seed, sampling and code (build.Acting.key).
        collector: plays the episodes.
    """
    run = RunFolder(folder)
    before, identity = read_json(run.vstar), read_json(run.signature) or {}
    return VstarSource(
        run.root.vstar,
        key,
        collector,
        reference,
        collector.shop.goals("train"),
        vstar=cfg.vstar,
        rollout=cfg.rollout,
        reuse=cfg.on_code_change == "reuse",
        before=None if before is None else Provenance(**before),
        configuration=identity.get("acting", ""),
        names={
            "shop": shop_name(cfg),
            "model": cfg.model.name,
            "stages": [stage["name"] for stage in cfg.curriculum.stages],
        },
    )


def _with_spread(
    vstar: VstarSource, goals: Sequence[Goal], cfg: RunConfig, ranks: Ranks, display: RunDisplay
) -> list[Goal]:
    """The goals that vstar.min_spread leaves to train on; rank 0 samples what is missing."""
    keep = functools.partial(vstar.with_spread, goals, cfg.vstar.num_samples, cfg.vstar.min_spread)
    (kept,) = ranks.gather_from(lambda: [keep()] if ranks.is_main else [])
    display.say(f"training goals by vstar.min_spread: {len(kept)} of {len(goals)}; the rest is left out")
    return kept


def _record_provenance(
    provenance: Provenance, folder: Path, tracker: Tracker, ranks: Ranks, display: RunDisplay
) -> None:
    """Keep which code V*'s samples are from: for the next attempt, and for whoever compares runs."""
    if ranks.is_main:
        replace_file(RunFolder(folder).vstar, json.dumps(asdict(provenance)), durable=False)
    tracker.tags({"vstar_code": provenance.code, "vstar_reused_code": provenance.reused_code})
    if provenance.reused_key:
        display.say(f"warning: V* reuses reference returns of other code ({provenance.reused_code})")
