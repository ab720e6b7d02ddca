"""The first sentence of a report: which arm, how sure, and what stands above it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import zip_longest

from webshop_rl.statistics import interval

from .advice import seed_advice
from .arms import Arm
from .comparison import EQUAL, Baseline, Comparison
from .load import Sweep
from .soon import Soon, soonest
from .verdict import listed

_NEVER = "No run has finished with a test, so there is nothing to compare yet."


def headline(sweep: Sweep, comparisons: Sequence[Comparison], soon: Sequence[Soon | None] = ()) -> str:
    """One sentence on the whole sweep; with several test sets one each.

    Args:
        soon: of each comparison how soon its arms learnt, which tells arms of equal scores apart.
    """
    if not comparisons:
        return _NEVER
    found = [_sentence(c, s) for c, s in zip_longest(comparisons, soon)]
    if len(comparisons) == 1:
        sentences = found
    else:
        sentences = [f"Test set {n} of {len(found)}: {said}" for n, said in enumerate(found, 1)]
    return " ".join([*([] if sweep.over else ["PRELIMINARY:"]), *sentences])


def _sentence(comparison: Comparison, soon: Soon | None) -> str:
    clauses = [_claim(comparison), soonest(soon) if comparison.alike else ""]
    clauses += _against_baselines(comparison)
    said = "; ".join(clause for clause in clauses if clause)
    return f"On training goals, {said[0].lower()}{said[1:]}." if comparison.training_goals else f"{said}."


def _claim(comparison: Comparison) -> str:
    leader, metric = comparison.leader, comparison.metric
    label, estimate = leader.arm.label, leader.means[metric]
    reached = f"{metric} {interval(estimate)} over {_seeds([leader.arm])}"
    if len(comparison.results) == 1:
        return f"{label} reached {reached}"
    if comparison.alike:
        num_arms = len(comparison.results)
        who = "Both" if num_arms == 2 else f"All {num_arms}"
        highest = ", the highest there is" if comparison.full else ""
        return f"{who} arms reached the same {metric}, {estimate.value:.3f}{highest}"
    tested = {other: pair for other, pair in comparison.against_leader.items() if pair.p is not None}
    if not tested:
        tied = [other for other, pair in comparison.against_leader.items() if pair.shares]
        highest = f"{listed([label, *tied])} share the highest" if tied else f"{label} has the highest"
        return f"{highest} {reached}{' each' if tied else ''}; one finished seed an arm is too few to compare"
    same = [other for other, pair in tested.items() if pair.level]
    below = [other for other, pair in tested.items() if pair.differs]
    level = [other for other, pair in tested.items() if not pair.differs and other not in same]
    if not level and not same:
        beyond = all(tested[other].differs_beyond for other in below) and not comparison.training_goals
        reach = "over seeds and products" if beyond else "over seeds, on these goals"
        claims = [f"{label} is best with {reached}, higher than {_others(below, tested)} {reach}"]
    else:
        who = f"{listed([label, *same])} share the highest" if same else f"{label} leads with"
        sharing = [result.arm for result in comparison.results if result.arm.label in (label, *same)]
        reached = f"{metric} {interval(estimate)} over {_seeds(sharing)}"
        words = [("higher than", below), ("no significant difference from", level)]
        rest = [f"{relation} {_others(labels, tested)}" for relation, labels in words if labels]
        said = ", ".join([f"{who} {reached}", *rest])
        claims = [said if below else f"No arm is shown to be best: {said}"]
    if level:
        claims.append(seed_advice(tested[level[0]], comparison))
    single = [r.arm.label for r in comparison.results if len(r.arm.finished) == 1]
    if single:
        verb = "have" if len(single) > 1 else "has"
        claims.append(f"{listed(single)} {verb} one finished seed, too few to compare")
    return "; ".join(claims)


def _seeds(arms: Sequence[Arm]) -> str:
    """`5 seeds`, or `3 to 5 seeds` where some arms have fewer."""
    numbers = [len(arm.finished) for arm in arms]
    most = max(numbers)
    if min(numbers) < most:
        return f"{min(numbers)} to {most} seeds"
    return f"{most} seed{'s' if most > 1 else ''}"


def _against_baselines(comparison: Comparison) -> list[str]:
    """What was not trained and is as good as the leading arm, or better."""
    first = comparison.leader
    ahead = [n for n in first.against if first.against[n].below]
    rest = [n for n in first.against if not first.against[n].above and not first.against[n].below]
    equal = [n for n in rest if first.against[n].pointlike and abs(first.against[n].value) < EQUAL]
    undecided = [n for n in rest if n not in equal]
    subject = "it is"
    if comparison.shared:
        subject = "the leading arms are" if comparison.full else f"{first.arm.label} is"
    words = {"below": ahead, "not significantly different from": undecided, "level with": equal}
    clauses = [f"{subject} {said} {_untrained(names, comparison)}" for said, names in words.items() if names]
    if first.against and not clauses:
        clauses.append(f"{subject} above everything that was not trained")
    return clauses


def _untrained(names: Sequence[str], comparison: Comparison) -> str:
    """`the scripted policies rule (0.68) and first (0.59)`, the best first."""
    values = {y.name: _value(comparison, y) for y in comparison.baselines}
    ranked = sorted(names, key=lambda name: -values.get(name, 0.0))
    said = {n: f"{n.removeprefix('baseline/')} ({values.get(n, 0.0):.2f})" for n in ranked}
    scripted = [said[n] for n in ranked if n != "untrained"]
    parts = []
    if scripted:
        kind = "policy" if len(scripted) == 1 else "policies"
        parts.append(f"the scripted {kind} {listed(scripted)}")
    if "untrained" in said:
        parts.append(f"the untrained policy ({values.get('untrained', 0.0):.2f})")
    return " and ".join(parts)


def _others(labels: Sequence[str], tested: Collection[str]) -> str:
    return f"the other {len(labels)} arms" if len(labels) == len(tested) > 2 else listed(labels)


def _value(comparison: Comparison, baseline: Baseline) -> float:
    return baseline.score if comparison.metric == "test/score" else baseline.success
