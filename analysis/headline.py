"""The first sentence of a report: which arm, how sure, and what stands above it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from webshop_rl.statistics import interval

from .advice import seed_advice
from .comparison import ArmResult, Comparison
from .load import Sweep
from .verdict import listed

_NEVER = "No run has finished with a test, so there is nothing to compare yet."


def headline(sweep: Sweep, comparisons: Sequence[Comparison]) -> str:
    """One sentence on the whole sweep; with several test sets one each."""
    if not comparisons:
        return _NEVER
    if len(comparisons) == 1:
        sentences = [_sentence(comparisons[0])]
    else:
        total = len(comparisons)
        sentences = [f"Test set {n} of {total}: {_sentence(c)}" for n, c in enumerate(comparisons, 1)]
    return " ".join([*([] if sweep.over else ["PRELIMINARY:"]), *sentences])


def _sentence(comparison: Comparison) -> str:
    leader = comparison.leader
    clauses = [_claim(comparison), *_against_baselines(leader, comparison)]
    said = "; ".join(clause for clause in clauses if clause)
    return f"On training goals, {said[0].lower()}{said[1:]}." if comparison.training_goals else f"{said}."


def _claim(comparison: Comparison) -> str:
    leader, metric = comparison.leader, comparison.metric
    label, estimate = leader.arm.label, leader.means[metric]
    num = len(leader.arm.finished)
    reached = f"{metric} {interval(estimate)} over {num} seed{'s' if num > 1 else ''}"
    if len(comparison.results) == 1:
        return f"{label} reached {reached}"
    if all(abs(r.means[metric].value - estimate.value) < 1e-9 for r in comparison.results):
        return f"All {len(comparison.results)} arms reached the same {metric}, {estimate.value:.3f}"
    tested = {other: pair for other, pair in comparison.against_leader.items() if pair.p is not None}
    if not tested:
        return f"{label} has the highest {reached}; one finished seed an arm is too few to compare"
    below = [other for other, pair in tested.items() if pair.differs]
    level = [other for other, pair in tested.items() if not pair.differs]
    if not level:
        beyond = all(tested[other].differs_beyond for other in below) and not comparison.training_goals
        reach = "over seeds and products" if beyond else "over seeds, on these goals"
        claims = [f"{label} is best with {reached}, higher than {_others(below, tested)} {reach}"]
    elif below:
        rest = f"higher than {listed(below)}, no significant difference from {listed(level)}"
        claims = [f"{label} leads with {reached}, {rest}"]
    else:
        who = _others(level, tested)
        claims = [
            f"No arm is shown to be best: {label} leads with {reached}, no significant difference from {who}"
        ]
    if level:
        claims.append(seed_advice(tested[level[0]], comparison))
    single = [r.arm.label for r in comparison.results if len(r.arm.finished) == 1]
    if single:
        verb = "have" if len(single) > 1 else "has"
        claims.append(f"{listed(single)} {verb} one finished seed, too few to compare")
    return "; ".join(claims)


def _against_baselines(first: ArmResult, comparison: Comparison) -> list[str]:
    """What was not trained and is as good as the leading arm, or better."""
    values = {y.name.removeprefix("baseline/"): _value(comparison, y) for y in comparison.baselines}
    ahead = [n for n in first.against if first.against[n].below]
    level = [n for n in first.against if not first.against[n].above and not first.against[n].below]
    clauses = []
    for names, words in ((ahead, "below"), (level, "not significantly different from")):
        plain = [name.removeprefix("baseline/") for name in names]
        if plain:
            best = max(plain, key=lambda name: values.get(name, 0.0))
            kind = "untrained policy" if best == "untrained" else f"scripted {best} policy"
            more = f" and {len(plain) - 1} more untrained ones" if len(plain) > 1 else ""
            clauses.append(f"it is {words} the {kind} ({values.get(best, 0.0):.2f}){more}")
    if first.against and not clauses:
        clauses.append("it is above everything that was not trained")
    return clauses


def _others(labels: Sequence[str], tested: Collection[str]) -> str:
    return f"the other {len(labels)} arms" if len(labels) == len(tested) > 2 else listed(labels)


def _value(comparison: Comparison, baseline: object) -> float:
    name = "score" if comparison.metric == "test/score" else "success"
    value: float = getattr(baseline, name)
    return value
