"""What a sweep shows, in words that claim no more than its intervals allow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from webshop_rl.statistics import CONFIDENCE, Estimate, interval, seeds_needed, smallest_p
from webshop_rl.tracking.names import BASELINES

from .comparison import Comparison, Pair
from .load import Sweep

PERCENT = f"{CONFIDENCE:.0%}"
_UNDECIDED = "distinguished from"
_PHRASES = {
    "untrained": "the untrained policy",
    **{f"baseline/{name}": f"the scripted {name} policy" for name in BASELINES},
}


def verdict(sweep: Sweep, comparisons: Sequence[Comparison]) -> str:
    """One paragraph on the whole sweep."""
    sentences = [_ended(sweep)]
    if not comparisons:
        sentences.append("No run has finished with a test, so there is nothing to compare yet.")
    for place, comparison in enumerate(comparisons, 1):
        words = [*_leader(comparison), *_pairs(comparison), *_baselines(comparison), *_goals(comparison)]
        if len(comparisons) > 1:
            words[0] = f"Test set {place} of {len(comparisons)}: {words[0]}"
        sentences += words
    if len(comparisons) > 1:
        sentences.append(
            "Arms of different test sets were tested on different episodes and are not compared."
        )
    return " ".join(sentences)


def finding(pair: Pair, comparison: Comparison) -> str:
    """What a pair of arms allows one to say, in a few words."""
    if _beyond(pair, comparison):
        return f"{pair.high.label} is higher"
    if pair.differs:
        return f"{pair.high.label} is higher on these goals"
    if pair.level:
        return "both have the same mean"
    if pair.p is None:
        return "cannot be distinguished: one seed"
    return "cannot be distinguished with these seeds"


def _ended(sweep: Sweep) -> str:
    finished = sum(run.finished for run in sweep.runs)
    recorded = len(sweep.runs) + sum(sweep.unrecorded.values())
    failed = sum(run.status == "FAILED" for run in sweep.runs) + sweep.unrecorded.get("FAILED", 0)
    running = sum(run.status == "RUNNING" for run in sweep.runs)
    counted = {
        "running": running,
        "to come": sweep.to_come,
        "failed": failed,
        "did not finish": recorded - finished - failed - running,
    }
    rest = ", ".join(f"{num} {what}" for what, num in counted.items() if num)
    said = f"{finished} of {recorded + sweep.to_come} runs finished{f' ({rest})' if rest else ''}"
    return f"{said}." if sweep.over else f"PRELIMINARY, the sweep is not over: {said}."


def _leader(comparison: Comparison) -> list[str]:
    metric = comparison.metric
    first = comparison.results[0]
    top = first.means[metric]
    reached = f"{interval(top)} ({PERCENT} interval over {top.num} seeds)" if top.num > 1 else _lone(top)
    if len(comparison.results) == 1:
        return [f"{first.arm.label} reached {metric} {reached}."]
    tied = [r.arm.label for r in comparison.results if top.value - r.means[metric].value < 1e-9]
    if len(tied) == len(comparison.results):
        return [f"All arms have the same mean {metric}, {top.value:.3f}."]
    if len(tied) > 1:
        return [f"{listed(tied)} share the highest mean {metric}, {top.value:.3f}."]
    return [f"The highest mean {metric} is {first.arm.label}'s, {reached}."]


def _pairs(comparison: Comparison) -> list[str]:
    """What can be said of the arms' order, and what cannot."""
    reaches = {
        True: "over seeds and over products",
        False: f"over seeds, on these {'training ' if comparison.training_goals else ''}goals",
    }
    sentences = []
    for beyond, reach in reaches.items():
        pairs = [p for p in comparison.pairs if p.differs and _beyond(p, comparison) == beyond]
        sentences += [
            f"{label} is higher than {listed(lower)}, {reach}." for label, lower in _by_first(pairs)
        ]
    tested = [p for p in comparison.pairs if p.p is not None]
    sentences += _undecided(tested, comparison.complete)
    sentences += _too_few([p for p in tested if not p.differs], comparison.num_pairs)
    single = [r.arm.label for r in comparison.results if len(r.arm.finished) == 1]
    if single and len(comparison.results) > 1:
        every = len(single) == len(comparison.results)
        who, verb = ("Every arm", "has") if every else (listed(single), "has" if len(single) == 1 else "have")
        sentences.append(
            f"{who} {verb} one finished seed: whether another would do the same, this sweep cannot tell."
        )
    return sentences


def _undecided(tested: Sequence[Pair], complete: bool) -> list[str]:
    rest = [pair for pair in tested if not pair.differs]
    grouped = _by_first(rest)
    if complete and len(rest) == len(tested) > 1:
        return ["No two of the arms can be distinguished with these seeds."]
    if len(grouped) > 2:
        return [f"{len(rest)} other pairs of arms cannot be distinguished with these seeds."]
    return [
        f"{label} and {listed(others)} cannot be distinguished with these seeds." for label, others in grouped
    ]


def _beyond(pair: Pair, comparison: Comparison) -> bool:
    return pair.differs_beyond and not comparison.training_goals


def _too_few(pairs: Sequence[Pair], num_pairs: int) -> list[str]:
    """Says so where the number of seeds alone rules a difference out."""
    best = [smallest_p(len(p.high.finished), len(p.low.finished)) for p in pairs]
    hopeless = [p for p in best if p * num_pairs > 1 - CONFIDENCE]
    if not hopeless:
        return []
    which = "such a pair" if len(hopeless) == len(pairs) else f"{len(hopeless)} of these pairs"
    among = "" if num_pairs == 1 else f" (of {num_pairs} compared)"
    return [
        f"So few seeds could not have distinguished {which}{among} whatever they scored: every run of one "
        f"beating every run of the other is luck once in {round(1 / min(hopeless))} times; it takes "
        f"{seeds_needed(num_pairs)} finished seeds an arm."
    ]


def _baselines(comparison: Comparison) -> list[str]:
    """The trained policies against those that were not trained, over products."""
    clauses = []
    for name in dict.fromkeys(name for result in comparison.results for name in result.against):
        known = [(r.arm.label, r.against[name]) for r in comparison.results if name in r.against]
        groups = {
            "above": [label for label, e in known if e.above],
            "below": [label for label, e in known if e.below],
            _UNDECIDED: [label for label, e in known if not e.above and not e.below],
        }
        other = _PHRASES.get(name, name)
        for relation, labels in groups.items():
            if labels:
                clauses.append(f"{_are(labels, relation, every=len(labels) == len(known) > 1)} {other}")
                other = "it"
    if not clauses:
        return []
    where = "on these training goals" if comparison.training_goals else "with intervals over products"
    return [f"The policies as trained, compared goal by goal {where}: {'; '.join(clauses)}."]


def _are(labels: Sequence[str], relation: str, *, every: bool) -> str:
    """`every arm is above`, `a and b are below`, `no arm can be distinguished from`."""
    if relation == _UNDECIDED:
        return f"no arm can be {relation}" if every else f"{listed(labels)} cannot be {relation}"
    if every:
        return f"every arm is {relation}"
    return f"{listed(labels)} {'is' if len(labels) == 1 else 'are'} {relation}"


def _goals(comparison: Comparison) -> list[str]:
    if comparison.training_goals:
        return ["These are training goals (split none): they show what was learnt, not what generalises."]
    return []


def _by_first(pairs: Iterable[Pair]) -> list[tuple[str, list[str]]]:
    """(label of the higher arm, labels of the lower ones)."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        found.setdefault(pair.high.label, []).append(pair.low.label)
    return list(found.items())


def listed(labels: Sequence[str]) -> str:
    """`a, b and c`, of many the first three and how many more."""
    if len(labels) > 4:
        return f"{', '.join(labels[:3])} and {len(labels) - 3} others"
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def _lone(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} (one seed)"
