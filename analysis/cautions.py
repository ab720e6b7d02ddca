"""What a reader must know before believing a table: one sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from webshop_rl.statistics import FEW_PRODUCTS, LOW_RATE

from .arms import Arm
from .comparison import Comparison
from .load import Run, Sweep

# Percentile bootstrap intervals of so few runs cover less than they say (docs/analysis.md).
FEW_SEEDS = 10
# Policies take more or fewer turns as they learn: env steps and tokens differ a little between any arms.
MUCH_MORE = 1.1
MAX_LISTED = 8


def cautions(sweep: Sweep, arms: Sequence[Arm], comparisons: Sequence[Comparison]) -> list[str]:
    """All that applies to a sweep, the gravest first."""
    runs = sweep.runs
    return [
        *_lost(sweep, arms),
        *_seeds(arms),
        *(sentence for comparison in comparisons for sentence in _goals(comparison)),
        *_budgets(arms),
        *_shops(arms),
        *_code(runs),
        *_history(sweep),
        *_health(runs),
    ]


def _lost(sweep: Sweep, arms: Sequence[Arm]) -> list[str]:
    found = []
    for arm in arms:
        going = sum(run.going for run in arm.runs)
        if going:
            found.append(f"{arm.label}: {_runs(going)} of {len(arm.runs)} not over; its numbers will change.")
        lost = len(arm.runs) - len(arm.finished) - going
        if lost and arm.finished:
            found.append(
                f"{arm.label}: {lost} of {len(arm.runs)} runs did not finish; its numbers are those of the "
                "rest, which may flatter it."
            )
        elif lost and not going:
            found.append(f"{arm.label}: no run finished, so it is in no comparison.")
    for overrides, num in sweep.arms_to_come.items():
        found.append(f"{overrides or 'The sweep'}: no run yet ({num} to come), so it is in no comparison.")
    for status, num in sweep.unrecorded.items():
        found.append(
            f"The launcher counted {num} {status.lower()} more than MLflow holds: ended before they could be "
            "recorded, or their journals wait for python -m webshop_rl.tracking.sync; "
            "webshop-rl status names them."
        )
    return found


def _seeds(arms: Sequence[Arm]) -> list[str]:
    numbers = {arm.label: len(arm.finished) for arm in arms if arm.finished}
    found = []
    if len(set(numbers.values())) > 1:
        listed = ", ".join(f"{label} {num}" for label, num in numbers.items())
        found.append(f"The arms have unequal numbers of finished seeds: {listed}.")
    single = [label for label, num in numbers.items() if num == 1]
    if single:
        who = "Every arm has" if len(single) == len(numbers) else f"{', '.join(single)}: only"
        found.append(f"{who} one finished seed: no interval over seeds, and no claim beyond these very runs.")
    few = [num for num in numbers.values() if 1 < num < FEW_SEEDS]
    if few:
        found.append(
            f"With {min(few)} seeds a bootstrap interval over seeds is narrower than it should be "
            "(docs/analysis.md); the finding of a pair therefore also needs the permutation of its runs (p)."
        )
    return found


def _goals(comparison: Comparison) -> list[str]:
    found = []
    goals = comparison.goals
    constant = [r.arm.label for r in comparison.results if r.means[comparison.metric].pointlike]
    if constant:
        found.append(
            f"All seeds scored the same in {'; '.join(constant)}: an interval without width is no certainty."
        )
    if goals is None:
        found.append("MLflow does not have the evaluation tables: nothing is compared goal by goal.")
    elif goals.effective_products < FEW_PRODUCTS:
        found.append(
            f"The test goals ask for {goals.num_products} products, by their shares of the episodes in "
            f"effect {goals.effective_products:.1f}: intervals over so few are rough."
        )
    low = [
        f"{r.arm.label} {r.means['test/success'].value:.3f}"
        for r in comparison.results
        if r.goals is not None and r.means["test/success"].value < LOW_RATE
    ]
    if low:
        found.append(
            f"Success below {LOW_RATE:g} ({', '.join(low[:MAX_LISTED])}): intervals over products of so low "
            "a rate are narrower than they should be (docs/analysis.md)."
        )
    if comparison.protocol == "published":
        found.append("Split published: products of the test goals are among those trained on.")
    return found


def _budgets(arms: Sequence[Arm]) -> list[str]:
    """Whether the arms learnt from unequal amounts, by means over their finished runs."""
    names = ("train/episodes", "vstar/episodes", "train/env_steps", "train/tokens")
    means = {arm.label: [_mean(arm, name) for name in names] for arm in arms if arm.finished}
    known = {label: [m for m in found if m is not None] for label, found in means.items()}
    whole = {label: found for label, found in known.items() if len(found) == len(names)}
    if len(whole) < 2:
        return []
    episodes, total, steps, tokens = zip(*((e, e + v, s, t) for e, v, s, t in whole.values()), strict=True)
    unequal = []
    if max(episodes) > min(episodes):
        unequal.append("training episodes")
    if max(total) > min(total):
        unequal.append("episodes with those of the reference policy for V*")
    unequal += [
        name
        for name, values in (("env steps", steps), ("tokens", tokens))
        if max(values) > MUCH_MORE * min(values)
    ]
    if not unequal:
        return []
    listed = [
        f"{label}: {e:,.0f}{f' + {v:,.0f} for V*' if v else ''} episodes, {s:,.0f} env steps, {t:,.0f} tokens"
        for label, (e, v, s, t) in whole.items()
    ]
    more = f"; and {len(listed) - MAX_LISTED} arms more (runs.csv)" if len(listed) > MAX_LISTED else ""
    return [
        f"The arms learnt from unequal amounts of data ({', '.join(unequal)}; means of a run): "
        f"{'; '.join(listed[:MAX_LISTED])}{more}. What is better after as many updates need not be better "
        "after as many episodes: --x episodes_with_vstar draws the curves against them, num_episodes=N "
        "gives every arm the same training episodes."
    ]


def _mean(arm: Arm, metric: str) -> float | None:
    values = [run.metrics[metric] for run in arm.finished if metric in run.metrics]
    return sum(values) / len(values) if len(values) == len(arm.finished) else None


def _shops(arms: Sequence[Arm]) -> list[str]:
    keys = sorted({key for arm in arms for key in arm.runs[0].params if key.startswith("env.")})
    keys = [key for key in keys if len({arm.param(key) for arm in arms}) > 1]
    if not keys:
        return []
    return [f"The arms differ in the shop itself ({', '.join(keys)}): a difference may be the task's."]


def _code(runs: Sequence[Run]) -> list[str]:
    digests = Counter(run.tags.get("code_digest", "?") for run in runs)
    if len(digests) < 2:
        return []
    listed = ", ".join(f"{digest} ({_runs(num)})" for digest, num in digests.most_common())
    return [f"The runs were made with different code: {listed}."]


def _history(sweep: Sweep) -> list[str]:
    found = []
    if sweep.replaced:
        found.append(
            f"Left out: {_runs(len(sweep.replaced))} that a newer one of the same configuration replaces."
        )
    for run in sweep.runs:
        if int(run.tags.get("resume_mismatches", "0") or 0):
            num = run.tags["resume_mismatches"]
            found.append(f"Run {run.folder_name} did not resume exactly: {num} values differ from before.")
    return found


def _health(runs: Sequence[Run]) -> list[str]:
    warned: Counter[str] = Counter()
    for run in runs:
        warned.update(name for name, value in run.metrics.items() if name.startswith("health/") and value)
    if not warned:
        return []
    listed = ", ".join(f"{name.removeprefix('health/')} ({_runs(num)})" for name, num in warned.most_common())
    return [f"Health checks warned during training: {listed}."]


def _runs(num: int) -> str:
    return f"{num} run{'s' if num != 1 else ''}"
