"""One run from its frozen configuration to its result; knows no algorithm and no environment by name."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from webshop_rl.assembly import RunParts, assemble, vstar_source
from webshop_rl.build import Acting, build_agent, build_algorithm, build_sampler, build_shop, choose_device
from webshop_rl.config import load
from webshop_rl.distributed.ranks import join_ranks
from webshop_rl.distributed.threads import settle_threads
from webshop_rl.evaluation.ending import ending_lines
from webshop_rl.evaluation.episodes import describe_episodes
from webshop_rl.evaluation.evaluator import Evaluation
from webshop_rl.evaluation.intervals import compare
from webshop_rl.evaluation.policies import Policy, play_network, scripted_policies
from webshop_rl.evaluation.tables import result_markdown, result_table, stage_lines
from webshop_rl.models.initial import start_from
from webshop_rl.models.shape import most_threads
from webshop_rl.preemption import Preempted, StopRequest
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Trajectory
from webshop_rl.run_record import SPLITS, TESTED, goals_of, name_of, open_record, shop_name
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.client import DESCRIPTION_TAG
from webshop_rl.tracking.names import of_final_test
from webshop_rl.tracking.rows import read_rows
from webshop_rl.training.checkpoint import Checkpoint, drop_optimiser, find_checkpoints, sweep_away
from webshop_rl.training.display import RunDisplay
from webshop_rl.training.reference import Reference
from webshop_rl.training.vstar import samples_needed


def run_experiment(run_dir: Path) -> float:
    """Execute or resume the run frozen in a folder; its objective, the test score.

    Raises: Preempted if a signal asked it to stop (its state is saved), UserError on bad input.
    """
    cfg = load(RunFolder(run_dir).config)
    ranks = join_ranks(cfg.hardware.strategy, cfg.hardware.device)
    most = most_threads(asdict(cfg.model))
    settle_threads(run_dir, cfg.hardware.threads, most=most, record=ranks.is_main)
    display = RunDisplay(run_dir.name, cfg.planned_updates, silent=not ranks.is_main)
    with contextlib.closing(ranks), StopRequest() as stop:
        shop = build_shop(cfg.env, cfg.curriculum)
        tracker = open_record(run_dir, cfg, shop, ranks.rank)
        try:
            with display:
                for remark in shop.remarks:
                    display.say(f"note: {remark}")
                parts = assemble(cfg, run_dir, shop, tracker, ranks, stop, display)
                with contextlib.closing(parts.collector.sampler):
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
    collector = acting.collector(agent, shop, build_sampler(cfg.rollout), interrupted=stop.check)
    vstar = vstar_source(cfg, run_dirs[0], acting.key(agent, shop), collector, Reference(agent))
    with contextlib.closing(collector.sampler):
        for number in sorted(set(needed.values()), reverse=True):
            vstar.of([goal for goal in goals if needed.get(goal.id) == number], number)
    return vstar.num_played


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
