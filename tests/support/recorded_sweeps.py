"""Sweeps recorded by the real tracker, of runs whose scores are drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tests.support.tracking import destination
from webshop_rl.launching.recording import record_sweep
from webshop_rl.storage.folders import Root
from webshop_rl.storage.run_status import State
from webshop_rl.tracking.config import Destination
from webshop_rl.tracking.tracker import open_tracker

NUM_UPDATES = 12
NUM_PRODUCTS = 25
GOALS = [(f"synthetic/{i}", f"B{i % NUM_PRODUCTS:02}", f"goal <{i}>") for i in range(40)]
DIGEST = "d1" * 32


class Diverged(RuntimeError):
    """What a failed run of these tests ends with."""


@dataclass
class Written:
    """One run to be recorded.

    Attributes:
        level: mean test score; its seed and the goals add to it.
        status: state that MLflow is left with.
        generation: 1 for a rerun beside an older run.
    """

    algo: str
    seed: int
    level: float
    lr: str = "5e-06"
    status: str = "FINISHED"
    split: str = "product"
    generation: int = 0
    goals: Sequence[tuple[str, str, str]] = field(default_factory=lambda: GOALS)

    @property
    def signature(self) -> str:
        return f"{self.algo}-{self.lr}-{self.seed}-{self.split}"

    @property
    def name(self) -> str:
        return self.signature + (f"-r{self.generation}" if self.generation else "")


def settings_of(root: Path) -> Destination:
    return destination(root, experiment="test")


def record(
    root: Path,
    sweep: str,
    runs: Sequence[Written],
    adopted: Sequence[Written] = (),
    settings: Destination | None = None,
) -> None:
    """Record a sweep as a launch of it would; the adopted runs must have been recorded before."""
    settings = settings or settings_of(root)
    for run in runs:
        record_run(root, sweep, run, settings)
    states = {"FINISHED": State.FINISHED, "FAILED": State.FAILED, "KILLED": State.INTERRUPTED}
    ended = {Root(root).run(run.name): (states[run.status], "") for run in (*runs, *adopted)}
    record_sweep(settings, sweep, ended)


def record_run(
    root: Path,
    sweep: str,
    run: Written,
    settings: Destination,
    *,
    after_update: Callable[[int], None] | None = None,
) -> None:
    """One run, in its journal alone; with after_update, which is called with each update, live."""
    folder = root / "runs" / run.name
    folder.mkdir(parents=True)
    (folder / "signature.json").write_text(json.dumps({"sweep": sweep}))
    params = {
        "algo.name": run.algo,
        "algo._target_": f"somewhere.{run.algo}",
        "env.name": "webshop",
        "env.split": run.split,
        "evaluation.test_episodes": 40,
        "evaluation.seed": 1000,
        "lr": run.lr,
        "model.init_seed": 0,
        "model.name": "tiny",
        "num_updates": NUM_UPDATES,
        "seed": run.seed,
        "vstar.seed": 0,
    }
    tags = {
        "signature": run.signature,
        "sweep": sweep,
        "code_digest": "c0de",
        "git_commit": "abc",
        "seed": run.seed,
        "split_digest": DIGEST,
        "folder": str(folder),
        **({} if run.algo == "ppo" else {"vstar_code": "c0de"}),
    }
    if after_update is None:
        # The journal alone: record_sweep replays it, as after a launch whose tracker was away.
        settings = replace(settings, config=replace(settings.config, kind="journal"))
    tracker = open_tracker(folder, settings, run_name=run.name, params=params, tags=tags, sweep=sweep)
    rng = np.random.default_rng([run.seed, *run.algo.encode()])
    by_product = dict(zip(sorted({g[1] for g in GOALS}), rng.uniform(-0.1, 0.1, NUM_PRODUCTS), strict=True))
    final = run.level + rng.normal(0, 0.01)
    last = NUM_UPDATES if run.status == "FINISHED" else 8
    try:
        _evaluate(tracker, "untrained", 0, run.goals, lambda asin: 0.05)
        for update in range(1, last + 1):
            reached = final * (1 - np.exp(-update / 5)) + rng.normal(0, 0.02)
            tracker.metrics(update, {"train/return_mean": reached, "time/train_s": 2.0 * update})
            tracker.metrics(update, _consumed(run.algo, update))
            if update % 4 == 0:
                tracker.metrics(update, {"val/success": float(np.clip(reached, 0, 1))})
            if after_update is not None:
                tracker.flush()
                after_update(update)
        if run.status == "FAILED":
            raise Diverged("the loss is | not <finite> at update 8")
        if run.status == "FINISHED":
            _evaluate(
                tracker, "test", last, run.goals, lambda asin: float(np.clip(final + by_product[asin], 0, 1))
            )
            _evaluate(tracker, "baseline/rule", last, run.goals, lambda asin: 0.55 + 0.3 * (asin < "B05"))
            _evaluate(tracker, "baseline/random", last, run.goals, lambda asin: 0.1)
        tracker.finish(run.status)
    except Diverged as error:
        tracker.finish("FAILED", error)


def _consumed(algo: str, update: int) -> dict[str, float]:
    """Ten episodes a collection; ppo takes four updates from each and needs no reference episodes."""
    collections = -(-update // 4) if algo == "ppo" else update
    episodes = 10 * collections
    vstar = 0 if algo == "ppo" else 80
    return {
        "train/episodes": episodes,
        "vstar/episodes": vstar,
        "train/env_steps": 5 * episodes,
        "train/tokens": 40 * episodes,
    }


def _evaluate(tracker, arm: str, step: int, goals: Sequence[tuple[str, str, str]], score) -> None:
    rows = [
        {
            "goal": goal,
            "asin": asin,
            "instruction": instruction,
            "episodes": 1,
            "success": float(score(asin) > 0.6),
            "score": score(asin),
        }
        for goal, asin, instruction in goals
    ]
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("success", "score")}
    tracker.metrics(step, {f"{arm}/{name}": value for name, value in means.items()})
    tracker.table(arm.replace("/", "_"), rows)
