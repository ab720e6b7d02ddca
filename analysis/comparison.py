"""Compares the arms of a sweep with each other and with what they must beat, on the same test episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from webshop_rl.statistics import (
    CONFIDENCE,
    Estimate,
    difference,
    improvement,
    iqm,
    mean,
    over_seeds,
    permutation_p,
)
from webshop_rl.tracking.names import EVALUATIONS

from .arms import Arm
from .goals import GoalScores, differences, mean_of
from .load import Run

METRICS = ("test/success", "test/score")
# What stands beside the arms: the untrained policy and the scripted ones.
BASELINE_EVALUATIONS = tuple(name for name in EVALUATIONS if name not in ("val", "test"))
# With more arms only the leading one is compared with each other one.
MAX_ALL_PAIRS = 8
# Means of scores that differ by less are one and the same: their sums were rounded.
EQUAL = 1e-9

ReadGoals = Callable[[Run, str], GoalScores | None]


@dataclass(frozen=True)
class ArmResult:
    """What one arm reached.

    Attributes:
        means, iqms: over seeds, by metric of METRICS.
        goals: mean score on each goal, or None if the tables are not there.
        against: the arm minus each baseline, the interval over products.
    """

    arm: Arm
    means: Mapping[str, Estimate]
    iqms: Mapping[str, Estimate]
    goals: GoalScores | None
    against: Mapping[str, Estimate]


@dataclass(frozen=True)
class Baseline:
    """What one policy that was not trained reached.

    Attributes:
        name: "untrained", "baseline/rule", ...
        success, score: means over the test episodes.
        estimate: of the compared metric, the interval over products, or None without its table.
        per_product: the same where every product weighs alike.
        arms: labels of the arms, or of the seeds, that it was measured for; empty if for all.
    """

    name: str
    success: float
    score: float
    estimate: Estimate | None
    per_product: Estimate | None
    arms: Sequence[str]


@dataclass(frozen=True)
class Pair:
    """Two arms, the one with the higher mean first.

    Attributes:
        over_seeds: difference of the means.
        over_goals: the same goal by goal, the interval over products; None if not paired.
        p: of a permutation of the runs, times the number of pairs (Bonferroni), or None with one run.
        improvement: chance that a run of `high` scores above one of `low`.
    """

    high: Arm
    low: Arm
    over_seeds: Estimate
    over_goals: Estimate | None
    p: float | None
    improvement: Estimate

    @property
    def differs(self) -> bool:
        """Whether runs with other seeds would show a difference on these goals, too."""
        return self.p is not None and self.p <= 1 - CONFIDENCE + 1e-12 and self.over_seeds.above

    @property
    def level(self) -> bool:
        """Whether both have the same mean."""
        return abs(self.over_seeds.value) < EQUAL

    @property
    def shares(self) -> bool:
        """Whether neither leads the other: the same mean, and not of one seed beside several."""
        return self.level and (self.p is not None or len(self.high.finished) == len(self.low.finished))

    @property
    def differs_beyond(self) -> bool:
        """Whether that holds for other products as well."""
        return self.differs and self.over_goals is not None and self.over_goals.above


@dataclass(frozen=True)
class Comparison:
    """Arms that were tested on the same episodes.

    Attributes:
        split_digest: of the assignment of goals to splits.
        protocol: "product", "published", "none", or "" if it is not recorded.
        metric: the one that pairs and baselines are compared by.
        results: arms with a finished run, the highest mean first.
        num_pairs: pairs of arms with several finished runs each, which p is corrected by; `pairs` may
            hold fewer (MAX_ALL_PAIRS).
    """

    split_digest: str
    protocol: str
    metric: str
    results: Sequence[ArmResult]
    baselines: Sequence[Baseline]
    pairs: Sequence[Pair]
    num_pairs: int

    @property
    def training_goals(self) -> bool:
        """Whether the agents were trained on the very goals they are tested on."""
        return self.protocol == "none"

    @property
    def complete(self) -> bool:
        """Whether `pairs` holds every pair of arms."""
        return len(self.pairs) == len(self.results) * (len(self.results) - 1) // 2

    @property
    def alike(self) -> bool:
        """Whether several arms reached one and the same mean."""
        values = [result.means[self.metric].value for result in self.results]
        return len(values) > 1 and max(values) - min(values) < EQUAL

    @property
    def full(self) -> bool:
        """Whether the leader's episodes all have the highest score there is."""
        return self.leader.means[self.metric].value > 1 - EQUAL

    @property
    def shared(self) -> bool:
        """Whether another arm reached the leader's mean."""
        return any(pair.shares for pair in self.against_leader.values())

    @property
    def leader(self) -> ArmResult:
        """The highest arm of those with several seeds."""
        return leader_of(self.results)

    @property
    def against_leader(self) -> dict[str, Pair]:
        """Pairs of the leader by the label of the other arm, in the order of the results."""
        label = self.leader.arm.label
        found = {}
        for pair in self.pairs:
            if label in (pair.high.label, pair.low.label):
                found[pair.low.label if pair.high.label == label else pair.high.label] = pair
        return found

    @property
    def goals(self) -> GoalScores | None:
        """Scores of the first arm that has them; its goals are those of the set."""
        return next((r.goals for r in self.results if r.goals is not None), None)


def compare(arms: Sequence[Arm], metric: str, read_goals: ReadGoals) -> list[Comparison]:
    """Results of the arms, those tested on the same episodes together.

    Args:
        arms: of the sweep; those without a finished run are left out.
        metric: of METRICS, by which arms are ranked and compared.
        read_goals: scores by goal of a run's evaluation ("test", "untrained", "baseline/rule", ...).
    """
    groups: dict[object, list[Arm]] = {}
    for arm in arms:
        if arm.finished:
            groups.setdefault(tested_on(arm.finished[0]), []).append(arm)
    return [_compare_group(members, metric, read_goals) for members in groups.values()]


def leader_of(results: Sequence[ArmResult]) -> ArmResult:
    """The first of the results with several seeds, else the first: one lucky seed leads nothing."""
    return next((r for r in results if len(r.arm.finished) > 1), results[0])


def _compare_group(arms: Sequence[Arm], metric: str, read_goals: ReadGoals) -> Comparison:
    # Of equals the one with more seeds leads: beside few, no difference can be shown.
    ranked = sorted(arms, key=lambda arm: (-mean(arm.scores(metric)), -len(arm.finished)))
    results = [_result(arm, metric, read_goals) for arm in ranked]
    chosen = list(combinations(results, 2))
    num_tests = sum(min(len(a.arm.finished), len(b.arm.finished)) > 1 for a, b in chosen)
    if len(results) > MAX_ALL_PAIRS:
        chosen = [pair for pair in chosen if leader_of(results) in pair]
    pairs = [_pair(high, low, metric, num_tests) for high, low in chosen]
    return Comparison(
        split_digest=arms[0].finished[0].tags.get("split_digest", ""),
        protocol=arms[0].param("env.split"),
        metric=metric,
        results=results,
        baselines=_baselines(ranked, read_goals),
        pairs=pairs,
        num_pairs=num_tests,
    )


def _result(arm: Arm, metric: str, read_goals: ReadGoals) -> ArmResult:
    tested = [read_goals(run, "test") for run in arm.finished]
    against = {}
    for name in BASELINE_EVALUATIONS:
        found = differences(tested, [read_goals(run, name) for run in arm.finished])
        if found is not None:
            against[name] = found.estimate()
    return ArmResult(
        arm=arm,
        means={m: over_seeds(mean, arm.scores(m)) for m in METRICS},
        iqms={m: over_seeds(iqm, arm.scores(m)) for m in METRICS},
        goals=mean_of(tested),
        against=against,
    )


def _pair(high: ArmResult, low: ArmResult, metric: str, num_tests: int) -> Pair:
    ours, theirs = high.arm.scores(metric), low.arm.scores(metric)
    over_goals = None
    if high.goals is not None and low.goals is not None and high.goals.paired_with(low.goals):
        over_goals = high.goals.minus(low.goals).estimate()
    several = min(len(ours), len(theirs)) > 1
    return Pair(
        high=high.arm,
        low=low.arm,
        over_seeds=over_seeds(difference, ours, theirs),
        over_goals=over_goals,
        p=min(1.0, permutation_p(ours, theirs) * num_tests) if several else None,
        improvement=over_seeds(improvement, ours, theirs),
    )


def _baselines(arms: Sequence[Arm], read_goals: ReadGoals) -> list[Baseline]:
    """One for each value that a baseline has: another model has another untrained policy."""
    found = []
    for name in BASELINE_EVALUATIONS:
        by_value: dict[tuple[float, float], list[tuple[Arm, Run]]] = {}
        for arm in arms:
            for run in arm.finished:
                if f"{name}/score" in run.metrics:
                    value = (run.metrics[f"{name}/success"], run.metrics[f"{name}/score"])
                    by_value.setdefault(value, []).append((arm, run))
        for (success, score), holders in by_value.items():
            goals = read_goals(holders[0][1], name)
            labels = _whose(holders, by_value.values()) if len(by_value) > 1 else []
            estimate = None if goals is None else goals.estimate()
            per_product = None if goals is None else goals.per_product()
            found.append(Baseline(name, success, score, estimate, per_product, labels))
    return found


def _whose(holders: Sequence[tuple[Arm, Run]], all_holders: Iterable[Sequence[tuple[Arm, Run]]]) -> list[str]:
    """Of what a baseline is one value: of some arms, or where every arm has it of some seeds."""
    arms = list(dict.fromkeys(arm.label for arm, _ in holders))
    if set(arms) < {arm.label for each in all_holders for arm, _ in each}:
        return arms
    return [f"seed={seed}" for seed in dict.fromkeys(run.seed for _, run in holders)]


def tested_on(run: Run) -> tuple[tuple[str, str], ...]:
    """What decides which episodes a run was tested on, by name; equal where they were the same."""
    keys = ("env.name", "env.split", "evaluation.test_episodes", "evaluation.seed")
    params = [(key, run.params.get(key, "")) for key in keys]
    return (*params, ("split digest", run.tags.get("split_digest", "")))
