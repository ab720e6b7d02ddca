"""One run from its frozen configuration to its result; knows no algorithm and no environment by name."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from webshop_rl.algos.config import CloningConfig
from webshop_rl.build import Acting, build_agent, build_algorithm, build_shop, choose_device
from webshop_rl.config import RunConfig, load
from webshop_rl.distributed.ranks import Ranks, join_ranks
from webshop_rl.distributed.threads import settle_threads
from webshop_rl.envs.demonstrators import Demonstrator, scripted_act
from webshop_rl.envs.types import Goal, Shop
from webshop_rl.errors import UserError
from webshop_rl.evaluation.ending import ending_lines
from webshop_rl.evaluation.episodes import describe_episodes, evaluation_specs
from webshop_rl.evaluation.evaluator import Evaluation, Evaluator
from webshop_rl.evaluation.intervals import compare
from webshop_rl.evaluation.policies import Policy, play_network, scripted_policies
from webshop_rl.evaluation.tables import result_markdown, result_table, stage_lines
from webshop_rl.models.agent import Agent
from webshop_rl.models.initial import notes_of, start_from
from webshop_rl.preemption import Preempted, StopRequest
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import EpisodeSpec, Teacher
from webshop_rl.rollout.guided import Demonstrations, GuidedCollector
from webshop_rl.rollout.recorded import recorded_collector
from webshop_rl.rollout.types import Trajectory
from webshop_rl.run_record import SPLITS, TESTED, goals_of, name_of, open_record, shop_name
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.client import DESCRIPTION_TAG
from webshop_rl.tracking.names import of_final_test
from webshop_rl.tracking.rows import read_rows
from webshop_rl.tracking.tracker import Tracker
from webshop_rl.training.checkpoint import Checkpoint, drop_optimiser, find_checkpoints, sweep_away
from webshop_rl.training.display import RunDisplay
from webshop_rl.training.learner import Learner
from webshop_rl.training.reference import Reference
from webshop_rl.training.trainer import Trainer
from webshop_rl.training.vstar import Provenance, VstarSource, samples_needed

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


def run_experiment(run_dir: Path) -> float:
    """Execute or resume the run frozen in a folder; its objective, the test score.

    Raises: Preempted if a signal asked it to stop (its state is saved), UserError on bad input.
    """
    cfg = load(RunFolder(run_dir).config)
    ranks = join_ranks(cfg.hardware.strategy, cfg.hardware.device)
    settle_threads(run_dir, cfg.hardware.threads, record=ranks.is_main)
    display = RunDisplay(run_dir.name, cfg.planned_updates, silent=not ranks.is_main)
    with contextlib.closing(ranks), StopRequest() as stop:
        shop = build_shop(cfg.env, cfg.curriculum)
        tracker = open_record(run_dir, cfg, shop, ranks.rank)
        try:
            with display:
                for remark in shop.remarks:
                    display.say(f"note: {remark}")
                parts = _build(cfg, run_dir, shop, tracker, ranks, stop, display)
                result = _execute(parts)
        except Preempted as preempted:
            display.say(f"{preempted}; the same command resumes the run")
            tracker.finish("KILLED")
            raise
        except BaseException as error:
            tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", error)
            raise
        tracker.tags({DESCRIPTION_TAG: result_markdown(result)})
        tracker.finish("FINISHED")
        if ranks.is_main:
            replace_file(RunFolder(run_dir).result, json.dumps(result, indent=1), durable=False)
            display.console.print(result_table(result, width=display.console.width), soft_wrap=False)
            for line in stage_lines(result):
                display.say(line)
            for line in ending_lines(result):
                display.say(f"warning: {line}")
    return float(result["objective"])


def sample_reference(run_dirs: Sequence[Path], stop: StopRequest) -> int:
    """Sample what runs that share their reference episodes will look up; how many episodes were played.

    Args:
        run_dirs: folders of prepared runs with the same reference policy in the same shop.
        stop: asked between decisions.
    Raises: Preempted if it was asked to stop; UserError on bad input.
    """
    cfg = load(RunFolder(run_dirs[0]).config)
    shop = build_shop(cfg.env, cfg.curriculum)
    goals = shop.goals("train")
    needed: dict[str, int] = {}
    for folder in run_dirs:
        for goal, number in samples_needed(load(RunFolder(folder).config), goals).items():
            needed[goal] = max(number, needed.get(goal, 0))
    algorithm = build_algorithm(cfg.algo)
    device = choose_device(cfg.hardware.device)
    agent = build_agent(cfg.model, shop, critic=algorithm.needs_critic, device=device)
    if cfg.init_from is not None:
        agent = start_from(agent, Path(cfg.init_from))
    acting = Acting.of(cfg.rollout, cfg.view, agent)
    collector = acting.collector(agent, shop, interrupted=stop.check)
    vstar = _vstar(cfg, run_dirs[0], acting.key(agent, shop), collector, Reference(agent))
    for number in sorted(set(needed.values()), reverse=True):
        vstar.of([goal for goal in goals if needed.get(goal.id) == number], number)
    return vstar.num_played


def _build(
    cfg: RunConfig,
    folder: Path,
    shop: Shop,
    tracker: Tracker,
    ranks: Ranks,
    stop: StopRequest,
    display: RunDisplay,
) -> RunParts:
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
    )
    vstar = None
    if algorithm.needs_vstar and reference is not None:
        vstar = _vstar(cfg, folder, acting.key(agent, shop), collector, reference)
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


def _vstar(
    cfg: RunConfig,
    folder: Path,
    key: dict[str, str],
    collector: Collector,
    reference: Reference,
) -> VstarSource:
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


def _execute(parts: RunParts) -> dict[str, Any]:
    """Untrained test, training, the one test, baselines; everything but the first can be resumed into."""
    parts.tracker.artifact(RunFolder(parts.folder).config)
    datasets = {split: goals_of(split, parts.shop, parts.cfg) for split in SPLITS}
    for dataset in datasets.values():
        parts.tracker.dataset(dataset)
    _record_shorter(parts)
    evaluate = parts.evaluator.evaluate
    # Before a checkpoint is loaded the policy is the untrained one.
    untrained_policy = _network(parts, "untrained", "untrained policy")
    untrained_records = parts.evaluator.play(untrained_policy)
    if parts.trainer.resume():
        parts.display.say(f"resuming at update {parts.trainer.progress.update}")
    best = parts.trainer.run()
    parts.tracker.tags({"stage_reached": parts.trainer.stage_reached, **parts.trainer.ending})
    parts.learner.restore(best)
    last = parts.trainer.progress.update
    trained = evaluate(_network(parts, "test", "trained policy"), last, traces=True)
    name = name_of(parts.folder, parts.cfg)
    parts.tracker.model(name, best.path, step=best.update, metrics=TESTED, tested_on=datasets["test"])
    # MLflow's pages show metrics in the order in which they were logged: the test comes first.
    untrained = parts.evaluator.record(untrained_policy, untrained_records, 0)
    scripted = [evaluate(policy, last) for policy in scripted_policies(parts.shop)]
    if parts.ranks.is_main:
        _tidy(parts.folder, best, parts.cfg.checkpoint.keep_optimiser_gb)
    return _result(parts, [trained, untrained, *scripted], best)


def _network(parts: RunParts, name: str, label: str) -> Policy:
    """The policy with the weights that the learner has at the moment it is played."""

    def play(specs: Sequence[EpisodeSpec]) -> list[Trajectory]:
        parts.display.phase(f"measuring the {label}", f"on {len(specs)} test episodes")
        return play_network(parts.collector, specs, parts.cfg.evaluation.temperature, parts.ranks)

    return Policy(name, label, play)


def _record_shorter(parts: RunParts) -> None:
    """The metrics of the run that this one goes on from (launching/continuing.py), up to where it ended."""
    run = RunFolder(parts.folder)
    note = read_json(run.continues)
    if note is None:
        return
    parts.display.say(f"goes on from update {note['update']} of run {note['run']}")
    parts.tracker.tags({"continues": note["run"]})
    journal = run.root.run(note["run"]).journal
    # Its own values, should an earlier attempt have got here, stay as they are.
    for row in read_rows(journal) if parts.ranks.is_main and journal.exists() else []:
        if row["kind"] == "metrics" and row["step"] <= note["update"]:
            training = {key: value for key, value in row["metrics"].items() if not of_final_test(key)}
            parts.tracker.metrics(row["step"], training)
    parts.tracker.flush()


def _tidy(folder: Path, best: Checkpoint, keep_optimiser_gb: float) -> None:
    """A finished run keeps the weights of its last and best update, and the last's optimiser if small."""
    place = RunFolder(folder).checkpoints
    found = find_checkpoints(place)
    last = found[-1].update
    kept = {best.update, last}
    sweep_away(place, kept)
    for checkpoint in found:
        small = checkpoint.optimiser_bytes <= keep_optimiser_gb * 1e9
        if checkpoint.update in kept and not (checkpoint.update == last and small):
            drop_optimiser(checkpoint)


def _result(parts: RunParts, evaluations: Sequence[Evaluation], best: Checkpoint) -> dict[str, Any]:
    """What result.json contains: the trained policy, first of the evaluations, beside the others."""
    cfg = parts.cfg
    progress = parts.trainer.progress
    label = f"{cfg.algo.name}, {cfg.model.name}, lr {cfg.lr:g}, seed {cfg.seed}"
    played = describe_episodes(parts.shop, "test", evaluations[0].records)
    title = f"{label}: {shop_name(cfg)}, {played}; trained policy of update {best.update}, best on validation"
    result = compare(title, evaluations)
    return {
        **({"vstar": asdict(parts.vstar)} if parts.vstar else {}),
        **result,
        "objective": result["policies"]["test"]["score"],
        "best_update": best.update,
        "num_updates": progress.update,
        "num_episodes": progress.episodes,
        **parts.trainer.ending,
        "train_s": progress.train_s,
        "resume_mismatches": len(parts.tracker.mismatches),
        "pid": os.getpid(),
    }
