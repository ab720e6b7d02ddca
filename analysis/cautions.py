"""What a reader must know before believing a table: a sentence each, with what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from webshop_rl.statistics import FEW_PRODUCTS, LOW_RATE, in_effect

from .advice import seed_advice
from .arms import Arm
from .comparison import Comparison
from .load import Run, Sweep

# Percentile bootstrap intervals of so few runs cover less than they say (docs/analysis.md).
FEW_SEEDS = 10
# Policies take more or fewer turns as they learn: env steps and tokens differ a little between any arms.
MUCH_MORE = 1.1
MAX_LISTED = 8
_GO_ON = "webshop-rl status shows whether the sweep is at work; if not, launch it again to go on with it."


@dataclass(frozen=True)
class Caution:
    """What weakens a claim, and what to do about it ("" where nothing can be done)."""

    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.remedy}".strip()


def cautions(sweep: Sweep, arms: Sequence[Arm], comparisons: Sequence[Comparison]) -> list[Caution]:
    """All that applies to a sweep, the gravest first."""
    runs = sweep.runs
    return [
        *_lost(sweep, arms),
        *_code(runs),
        *_shops(arms),
        *(caution for comparison in comparisons for caution in _undecided(comparison)),
        *_seeds(arms),
        *(sentence for comparison in comparisons for sentence in _goals(comparison)),
        *_budgets(arms),
        *_history(sweep),
        *_health(runs),
    ]


def _undecided(comparison: Comparison) -> list[Caution]:
    """The pair at the top that seeds do not settle."""
    if not any(p.p is not None for p in comparison.pairs):
        return []
    if comparison.alike:
        value = comparison.leader.means[comparison.metric].value
        text = f"All arms have the same mean {comparison.metric}, {value:.3f}: these goals do not tell them "
        return [Caution(f"{text}apart.", _other_goals(value))]
    level = [p for p in comparison.against_leader.values() if p.p is not None and not p.differs]
    if not level:
        return []
    pair = next((p for p in level if not p.level), level[0])
    text = f"{pair.high.label} and {pair.low.label} do not differ significantly with these seeds."
    advice = seed_advice(pair, comparison)
    return [Caution(text, f"{advice[0].upper()}{advice[1:]}.")]


def _other_goals(value: float) -> str:
    """What may tell arms apart that all reached a score."""
    if value > 1 - 1e-9:
        return "A harder shop may: env.distractors=2 to 4, env=stage2 and on (docs/ladder.md)."
    if value < 1e-9:
        return "More updates may, or an easier shop: env=stage1 (docs/ladder.md)."
    return "More test episodes and seeds may."


def _lost(sweep: Sweep, arms: Sequence[Arm]) -> list[Caution]:
    found = []
    for arm in arms:
        going = sum(run.going for run in arm.runs)
        if going:
            text = f"{arm.label}: {_runs(going)} of {len(arm.runs)} not over; its numbers will change."
            found.append(Caution(text, "Make the report again when they are done."))
        if arm.to_come:
            planned = len(arm.runs) + arm.to_come
            text = f"{arm.label}: {arm.to_come} of {planned} runs have not started; its numbers will change."
            found.append(Caution(text, _GO_ON))
        lost = len(arm.runs) - len(arm.finished) - going
        if lost and arm.finished:
            text = (
                f"{arm.label}: {lost} of {len(arm.runs)} runs did not finish; its numbers are those of the "
            )
            found.append(Caution(f"{text}rest, which may flatter it.", _retry(sweep)))
        elif lost and not going:
            text = f"{arm.label}: no run finished, so it is in no comparison."
            found.append(Caution(text, _retry(sweep)))
    for overrides, num in sweep.arms_to_come.items():
        text = f"{overrides or 'The sweep'}: no run yet ({num} to come), so it is in no comparison."
        found.append(Caution(text, _GO_ON))
    for status, num in sweep.unrecorded.items():
        text = (
            f"The launcher counted {num} {status.lower()} more than MLflow has: ended before they could be "
        )
        text += "recorded, or their journals wait for python -m webshop_rl.tracking.sync."
        found.append(Caution(text, "webshop-rl status names them."))
    return found


def _retry(sweep: Sweep) -> str:
    status = f"webshop-rl status {sweep.name}" if sweep.parent_id else "webshop-rl status"
    return f"{status} shows why; launch the sweep again to retry them."


def _seeds(arms: Sequence[Arm]) -> list[Caution]:
    numbers = {arm.label: len(arm.finished) for arm in arms if arm.finished}
    found = []
    # Where runs of one arm were lost or are to come, another caution says so.
    planned = {len(arm.runs) + arm.to_come for arm in arms if arm.finished}
    if len(set(numbers.values())) > 1 and len(planned) > 1:
        listed = ", ".join(f"{label} {num}" for label, num in numbers.items())
        text = f"The arms have unequal numbers of finished seeds: {listed}."
        found.append(Caution(text, f"Launch the sweep with seed=0,...,{max(numbers.values()) - 1} for all."))
    single = [label for label, num in numbers.items() if num == 1]
    if single:
        who = "Every arm has" if len(single) == len(numbers) else f"{', '.join(single)}: only"
        text = f"{who} one finished seed: no interval over seeds, and no claim beyond these very runs."
        found.append(Caution(text, "Add seed=0,1,2,3,4 to the sweep; the runs that are done are kept."))
    few = [num for num in numbers.values() if 1 < num < FEW_SEEDS]
    if few:
        text = f"With {min(few)} seeds a bootstrap interval over seeds is narrower than it should be "
        remedy = "Go by the findings: they also need the permutation of the runs (p; docs/analysis.md)."
        found.append(Caution(f"{text.strip()}.", remedy))
    return found


def _goals(comparison: Comparison) -> list[Caution]:
    found = []
    goals = comparison.goals
    constant = [r.arm.label for r in comparison.results if r.means[comparison.metric].pointlike]
    if constant:
        text = (
            f"All seeds scored the same in {'; '.join(constant)}: an interval without width is no certainty."
        )
        found.append(Caution(text, "More seeds, or harder goals, would show what varies."))
    if goals is None:
        text = "MLflow does not have the evaluation tables: nothing is compared goal by goal."
        found.append(Caution(text, "--root FOLDER reads them from the runs' folders."))
    elif goals.effective_products < FEW_PRODUCTS:
        weighed = in_effect(goals.num_products, goals.effective_products)
        text = f"The test goals ask for {weighed}: intervals over so few are rough."
        found.append(Caution(text, "A shop with more products, or more evaluation.test_episodes, mends it."))
    low = [
        f"{r.arm.label} {r.means['test/success'].value:.3f}"
        for r in comparison.results
        if r.goals is not None and r.means["test/success"].value < LOW_RATE
    ]
    if low:
        text = (
            f"Success below {LOW_RATE:g} ({', '.join(low[:MAX_LISTED])}): intervals over products of so low "
        )
        text += "a rate are narrower than they should be (docs/analysis.md)."
        found.append(Caution(text, "Compare by score, or train longer."))
    if comparison.protocol == "published":
        text = "Split published: products of the test goals are among those trained on."
        found.append(Caution(text, "env.split=product holds them out."))
    return found


def _budgets(arms: Sequence[Arm]) -> list[Caution]:
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
    text = f"The arms learnt from unequal amounts of data ({', '.join(unequal)}; means of a run): "
    text += f"{'; '.join(listed[:MAX_LISTED])}{more}."
    remedy = "--x env_steps or --x tokens"
    if max(total) > min(total):
        remedy = "num_episodes=N gives every arm the same training episodes; --x episodes_with_vstar"
    return [Caution(text, f"{remedy} draws the curves against them.")]


def _mean(arm: Arm, metric: str) -> float | None:
    values = [run.metrics[metric] for run in arm.finished if metric in run.metrics]
    return sum(values) / len(values) if len(values) == len(arm.finished) else None


def _shops(arms: Sequence[Arm]) -> list[Caution]:
    keys = sorted({key for arm in arms for key in arm.runs[0].params if key.startswith("env.")})
    keys = [key for key in keys if len({arm.param(key) for arm in arms}) > 1]
    if not keys:
        return []
    text = f"The arms differ in the shop itself ({', '.join(keys)}): a difference may be the task's."
    return [Caution(text, "Compare arms of one shop with each other only.")]


def _code(runs: Sequence[Run]) -> list[Caution]:
    digests = Counter(run.tags.get("code_digest", "?") for run in runs)
    if len(digests) < 2:
        return []
    listed = ", ".join(f"{digest} ({_runs(num)})" for digest, num in digests.most_common())
    text = f"The runs were made with different code: {listed}."
    return [Caution(text, "rerun=true runs them again with the code of now.")]


def _history(sweep: Sweep) -> list[Caution]:
    found = []
    if sweep.replaced:
        num = _runs(len(sweep.replaced))
        found.append(Caution(f"Left out: {num} that a newer one of the same configuration replaces."))
    for run in sweep.runs:
        if int(run.tags.get("resume_mismatches", "0") or 0):
            text = (
                f"Run {run.folder_name} did not resume exactly: {run.tags['resume_mismatches']} values differ"
            )
            found.append(Caution(f"{text} from before.", "rerun=true runs it anew."))
    return found


def _health(runs: Sequence[Run]) -> list[Caution]:
    warned: dict[str, list[str]] = {}
    for run in runs:
        for name, value in run.metrics.items():
            if name.startswith("health/") and value:
                warned.setdefault(name.removeprefix("health/"), []).append(run.folder_name)
    if not warned:
        return []
    most_first = sorted(warned.items(), key=lambda item: -len(item[1]))
    text = (
        f"Health checks warned during training: {'; '.join(f'{n} ({_named(own)})' for n, own in most_first)}."
    )
    return [Caution(text, "webshop-rl status logs RUN shows when; docs/health.md says what each means.")]


def _runs(num: int) -> str:
    return f"{num} run{'s' if num != 1 else ''}"


def _named(runs: Sequence[str]) -> str:
    """`2 runs: 4f8e23abc04d, 7407ead800a1`."""
    more = ", ..." if len(runs) > MAX_LISTED else ""
    return f"{_runs(len(runs))}: {', '.join(runs[:MAX_LISTED])}{more}"
