"""Every metric name there is, with unit and meaning; the glossary in docs/metrics.md is printed from here.

A name that is not listed is refused when it is logged, so a typo cannot start a metric of its own.
Three families are open, for what a new algorithm, health check or curriculum adds without an edit here:
`algo/`, `health/` and `stage/`. Imports nothing but the standard library: the analysis reads this module too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One metric, or with a trailing `*` in the name an open family of metrics.

    Attributes:
        name: as logged, e.g. "test/success"; a family is written "algo/*".
        unit: "fraction", "score" (WebShop's, in [0, 1]), "return", "s", "tokens", ...
        meaning: one sentence.
        better: which way is better, or None where neither is.
    """

    name: str
    unit: str
    meaning: str
    better: Literal["up", "down"] | None = None


BASELINES = ("backtrack", "rule", "first", "random")
# Prefixes under which one evaluation (of a policy on a split) is logged; the words end a sentence.
EVALUATIONS = {
    "val": "of the policy on the validation goals, during training",
    "test": "of the chosen checkpoint on the test goals, once",
    "untrained": "of the policy before its first update on the test goals",
    "baseline/backtrack": "of the scripted backtrack policy on the test goals",
    "baseline/rule": "of the scripted rule policy on the test goals",
    "baseline/first": "of buying the first search result on the test goals",
    "baseline/random": "of random admissible actions on the test goals",
}


def _evaluation(prefix: str, words: str) -> list[Metric]:
    return [
        Metric(f"{prefix}/success", "fraction", f"Episodes with score 1, {words}.", "up"),
        Metric(f"{prefix}/score", "score", f"Mean final WebShop reward, {words}.", "up"),
        Metric(f"{prefix}/return_mean", "return", f"Mean episode return, {words}.", "up"),
        Metric(f"{prefix}/episode_turns", "turns", f"Mean turns an episode, {words}.", "down"),
        Metric(f"{prefix}/invalid_frac", "fraction", f"Turns whose reply did not apply, {words}.", "down"),
        Metric(f"{prefix}/truncated_frac", "fraction", f"Episodes cut off, {words}.", "down"),
        Metric(f"{prefix}/success_by_product", "fraction", f"Mean success of a product, {words}.", "up"),
        Metric(f"{prefix}/score_by_product", "score", f"Mean score of a product, {words}.", "up"),
        Metric(
            f"{prefix}/effective_products",
            "products",
            f"1 / sum of squared shares of the products in the episodes, {words}.",
            "up",
        ),
    ]


METRICS: tuple[Metric, ...] = (
    *(metric for prefix, words in EVALUATIONS.items() for metric in _evaluation(prefix, words)),
    *_evaluation("all", "of a policy on the goals of every split, by webshop_rl.evaluate"),
    Metric("train/return_mean", "return", "Mean return of the collected episodes.", "up"),
    Metric("train/return_std", "return", "Standard deviation of the collected episodes' returns (ddof 0)."),
    Metric("train/score", "score", "Mean final WebShop reward of the collected episodes.", "up"),
    Metric("train/success", "fraction", "Collected episodes with score 1.", "up"),
    Metric("train/episode_turns", "turns", "Mean turns a collected episode.", "down"),
    Metric(
        "train/reply_tokens",
        "tokens",
        "Mean tokens a reply, forced ones and the end of the reply included.",
    ),
    Metric(
        "train/reply_decisions",
        "tokens",
        "Mean decisions a reply: tokens sampled where more than one was admissible.",
    ),
    Metric(
        "train/decision_entropy",
        "nats",
        "Mean of -log pi over the sampled decisions: an estimate of the policy's entropy a decision.",
    ),
    Metric(
        "train/replies_alike_frac",
        "fraction",
        "Equal replies over pairs of episodes of different goals, turn by turn; 1: one template.",
    ),
    Metric("train/invalid_frac", "fraction", "Turns whose reply did not apply.", "down"),
    Metric("train/truncated_frac", "fraction", "Collected episodes cut off (steps or context).", "down"),
    Metric("train/reply_cut_frac", "fraction", "Replies cut at the token limit.", "down"),
    Metric("train/episodes", "episodes", "Training episodes played so far, those of dropped groups too."),
    Metric(
        "train/episodes_dropped",
        "episodes",
        "Of these, those whose group's returns were all equal (collection.equal_groups: drop, resample).",
        "down",
    ),
    Metric("train/goals_played", "goals", "Goals of the collection, replacements of dropped ones included."),
    Metric("train/goals_dropped", "goals", "Of these, those whose group was dropped.", "down"),
    Metric(
        "train/episodes_replayed",
        "episodes",
        "Trajectories of earlier collections that joined this one (collection.replay_best); none is played.",
    ),
    Metric("train/env_steps", "turns", "Turns taken in training episodes so far."),
    Metric(
        "train/tokens",
        "tokens",
        "Tokens of the replies in training episodes so far, those without an alternative included.",
    ),
    Metric(
        "algo/*", "see the algorithm", "The algorithm's own; docs/algorithms.md gives the formula of each."
    ),
    Metric("curriculum/stage", "stage", "Stage that training is at, from 1 (docs/ladder.md)."),
    Metric("curriculum/reached", "stage", "Furthest stage that training has been at, from 1.", "up"),
    Metric(
        "curriculum/success", "fraction", "Success of the window's training episodes at this stage.", "up"
    ),
    Metric("curriculum/success_low", "fraction", "Lower Wilson bound (95 %) of that success.", "up"),
    Metric("curriculum/moves", "moves", "Promotions and demotions so far."),
    Metric(
        "curriculum/forgetting",
        "fraction",
        "Largest forgetting of any stage: its best success on validation goals so far minus that of now.",
        "down",
    ),
    Metric(
        "stage/*",
        "fraction",
        "Of a stage: `<name>/val_success`, `<name>/forgetting`, `<name>/<policy>_success` on test goals.",
    ),
    Metric(
        "sampler/gap_mean",
        "nats",
        "Mean absolute difference of a decision's log-probs: learner's and engine's (docs/engines.md).",
        "down",
    ),
    Metric("sampler/gap_max", "nats", "The largest of these differences, 20 at most.", "down"),
    Metric("sampler/weight_mean", "1", "Mean truncated importance weight of a decision; 1 without a gap."),
    Metric(
        "sampler/truncated_frac",
        "fraction",
        "Decisions whose importance weight was above rollout.importance_cap.",
        "down",
    ),
    Metric("optim/loss", "nats", "Loss of the optimiser batch, summed over micro-batches."),
    Metric("optim/grad_norm", "norm", "Global gradient norm before clipping."),
    Metric("optim/lr", "1", "Learning rate as configured, in the terms of a Qwen2.5 fine-tune."),
    Metric("optim/lr_effective", "1", "Learning rate the optimiser used: lr times the model's lr_scale."),
    Metric("optim/skipped_steps", "steps", "Steps skipped so far for a non-finite gradient.", "down"),
    Metric(
        "health/*",
        "1",
        "1 at a step where the check of that name failed; `restored`: went on from the best checkpoint.",
        "down",
    ),
    Metric("vstar/mean", "return", "Mean V* over the goals of the collection."),
    Metric("vstar/std", "return", "Standard deviation of V* over the goals of the collection (ddof 0)."),
    Metric("vstar/max", "return", "Largest V* among the goals of the collection."),
    Metric(
        "vstar/episodes",
        "episodes",
        "Reference episodes V* was estimated from so far, each once, whichever run of the sweep played it.",
    ),
    Metric("time/collect_s", "s", "Wall time of collecting the update's episodes.", "down"),
    Metric("time/learn_s", "s", "Wall time of the update's loss, gradients and optimiser steps.", "down"),
    Metric("time/update_s", "s", "Wall time of the whole update, collection and V* included.", "down"),
    Metric("time/eval_s", "s", "Wall time of the evaluation at this step.", "down"),
    Metric("time/vstar_s", "s", "Wall time of sampling the reference for V*.", "down"),
    Metric("time/checkpoint_s", "s", "Wall time of writing the checkpoint of this step.", "down"),
    Metric("time/train_s", "s", "Wall time spent training up to this step, all attempts together.", "down"),
    Metric("time/gpu_hours", "h", "time/train_s times the GPUs of the run, in hours; 0 on a CPU.", "down"),
    Metric(
        "time/tokens_per_s", "tokens/s", "Tokens of replies a second of collection, forced ones too.", "up"
    ),
    Metric("time/decisions_per_s", "tokens/s", "Decisions sampled a second of collection.", "up"),
    Metric("time/episodes_per_s", "episodes/s", "Episodes collected a second.", "up"),
    Metric(
        "system/vstar_episodes_played",
        "episodes",
        "Reference episodes this run played itself, as its checkpoints know; the rest was in the store.",
        "down",
    ),
    Metric("system/cpu_cores", "cores", "Cores that the process kept busy, mean since the update before."),
    Metric("system/rss_mb", "MB", "Resident memory of the process after the update.", "down"),
    Metric("system/rss_peak_mb", "MB", "Largest resident memory of the process so far.", "down"),
    Metric(
        "system/cpu_energy_wh",
        "Wh",
        "Energy of the machine's processors while the run trained, all users', where powercap shows it.",
        "down",
    ),
    Metric(
        "system/gpu_energy_wh",
        "Wh",
        "Energy of the GPUs that the first rank sees while the run trained, where NVML shows it.",
        "down",
    ),
    Metric("system/gpu_mem_mb", "MB", "Peak memory allocated on the GPU since the last update.", "down"),
)

# What a run learnt from, or used up, so far: what arms of a comparison should agree in.
CONSUMED = ("train/episodes", "vstar/episodes", "train/env_steps", "train/tokens", "time/gpu_hours")
WALL_CLOCK_PREFIXES = ("time/", "system/")
_FAMILIES = tuple(m.name[:-1] for m in METRICS if m.name.endswith("*"))
_BY_NAME = {m.name: m for m in METRICS}
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_]*(/[a-z0-9][a-z0-9_]*)*")


def is_wall_clock(name: str) -> bool:
    """Whether a metric measures time or the machine, and so differs between identical runs."""
    return name.startswith(WALL_CLOCK_PREFIXES)


def of_final_test(name: str) -> bool:
    """Whether a metric is recorded at a run's end: of the chosen policy, the untrained or a scripted one."""
    end = name.rpartition("/")[2] if name.startswith("stage/") else name
    return end.startswith(("test/", "test_", "untrained/", "untrained_", "baseline/", "baseline_"))


def describe(name: str) -> Metric:
    """The entry of a name, or of the open family it belongs to.

    Raises: ValueError, listing close names, if there is none.
    """
    found = _BY_NAME.get(name)
    if found is not None and not name.endswith("*"):
        return found
    for family in _FAMILIES:
        if name.startswith(family) and _MEMBER.fullmatch(name[len(family) :]):
            return _BY_NAME[family + "*"]
    close = difflib.get_close_matches(name, _BY_NAME, n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "webshop_rl/tracking/names.py lists them all"
    raise ValueError(f"unknown metric {name!r}: {hint}")


_checked: set[str] = set()


def check(names: Iterable[str]) -> None:
    """Raise ValueError at the first name that is neither listed nor in an open family."""
    for name in names:
        if name not in _checked:
            describe(name)
            _checked.add(name)


def glossary() -> str:
    """The page docs/metrics.md, as Markdown."""
    arrow = {"up": "higher", "down": "lower", None: ""}
    rows = [f"| `{m.name}` | {m.unit} | {arrow[m.better]} | {m.meaning} |" for m in METRICS]
    return "\n".join([_HEAD, *rows, "", _TAIL])


_HEAD = """# Metrics

Printed by `python -m webshop_rl.tracking.names > docs/metrics.md`; the source is that module.
Training metrics carry the number of updates done as their step; final ones the last update's.
*Success* is score == 1. A name that is not here is refused when it is logged.

| name | unit | better | meaning |
|---|---|---|---|"""

_TAIL = """`time/` and `system/` measure the machine: identical runs differ in them; everything else must
agree to the last bit after a resume. MLflow stores NaN as 0 with a flag and +inf and -inf as the largest
and smallest float64; the journal in the run's folder keeps them as they are."""


if __name__ == "__main__":
    print(glossary())
