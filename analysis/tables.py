"""The tables of a report, as text cells; `frames` has the same numbers unrounded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from webshop_rl.evaluation.reasons import Reason
from webshop_rl.statistics import Estimate, in_effect, interval, mean, over_seeds

from .arms import Arm
from .comparison import BASELINE_EVALUATIONS, ArmResult, Baseline, Comparison, Pair
from .cost import COST_COLUMNS, COSTS, WALL_TIME
from .load import Run, Sweep
from .survey import usual_reason
from .verdict import PERCENT, finding

MAX_SOLVED_ARMS = 8
MAX_SOLVED_GOALS = 40
REASONS_NOTE = (
    "Test episodes of finished seeds, each with one reason: the first of docs/analysis.md that applies."
)
LOG_NOTE = (
    "A run's name leads to all that it printed, where its log lies beside the report; webshop-rl status logs "
    "RUN --root FOLDER shows it, too."
)
_STATES = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "stopped"}
_RIGHT = ("seeds", "runs", "update", "p", "goals", "products", "episodes", "failed", "V* episodes")


@dataclass(frozen=True)
class Table:
    """Cells to be shown.

    Attributes:
        columns: headings.
        rows: as many cells each.
        note: how to read it, or "".
        links: where a cell leads, by its text: an address relative to the report's folder, or of a server.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    links: Mapping[str, str] = field(default_factory=dict)

    def markdown(self) -> str:
        """As GitHub's Markdown, title and note included."""
        lines = [f"### {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines.append("| " + " | ".join(map(_escaped, self.columns)) + " |")
        lines.append("|" + "|".join("---" for _ in self.columns) + "|")
        lines += ["| " + " | ".join(map(self._cell, row)) + " |" for row in self.rows]
        return "\n".join(lines)

    def _cell(self, cell: str) -> str:
        return f"[{_escaped(cell)}]({self.links[cell]})" if cell in self.links else _escaped(cell)


def comparison_table(comparison: Comparison) -> Table:
    """One row an arm, then the policies that were not trained."""
    metric = comparison.metric
    shown = [name for name in BASELINE_EVALUATIONS if any(name in r.against for r in comparison.results)]
    columns = [
        "arm",
        "seeds",
        "test/success",
        "test/score",
        f"IQM of {metric}",
        *(f"minus {_baseline(name)}" for name in shown),
    ]
    rows = [[*_arm_cells(r, metric), *(interval(r.against.get(n), signed=True) for n in shown)]
            for r in comparison.results]  # fmt: skip
    rows += [_baseline_cells(y, metric) + [""] * (1 + len(shown)) for y in comparison.baselines]
    return Table(
        f"Arms on {_described(comparison)}",
        columns,
        rows,
        f"Mean [{PERCENT} interval]. Rows of arms: intervals over seeds, none for a single seed. Rows of "
        f"other policies, and columns minus ... (difference in {metric} on the same episodes): intervals "
        "over products. Each interval stands for itself; with many of them some miss.",
    )


def summary_table(
    comparison: Comparison, reasons: Mapping[str, Counter[str]], *, cost: Mapping[str, Sequence[str]]
) -> Table:
    """The first thing to read: a line an arm, then what was not trained.

    Args:
        reasons: how many test episodes of each arm failed for each reason.
        cost: cells of COST_COLUMNS by arm.
    """
    pairs = comparison.against_leader
    rows = []
    for result in comparison.results:
        label = result.arm.label
        leads = "shares the lead" if comparison.shared else "leads" if len(comparison.results) > 1 else "-"
        against = leads if result is comparison.leader else _against_leader(pairs.get(label))
        means = _arm_cells(result, comparison.metric)[1:4]
        fails = usual_reason(reasons.get(label, {}))
        rows.append([label, *means, against, fails or "-", *cost.get(label, [])])
    empty = [""] * (2 + len(COST_COLUMNS))
    rows += [[*_baseline_cells(y, comparison.metric), *empty] for y in comparison.baselines]
    columns = ["arm", "seeds", "test/success", "test/score", "against the leader", "fails mostly by"]
    title = f"Arms on {_described(comparison)}"
    return Table(title, [*columns, *COST_COLUMNS], rows, f"Hours are {WALL_TIME}.")


def _against_leader(pair: Pair | None) -> str:
    if pair is None:
        return "-"
    if pair.shares:
        return "shares the lead"
    if pair.p is None:
        return "not compared: one seed"
    gap = interval(pair.over_seeds, digits=2)
    return f"lower by {gap}" if pair.differs else "no significant difference"


def reasons_table(reasons: Mapping[str, Counter[str]], tested: Mapping[str, int]) -> Table | None:
    """One row an arm: how many of its test episodes failed for each reason; None if none failed.

    Args:
        tested: test episodes of each arm.
    """
    shown = [str(r) for r in Reason if any(r in counts for counts in reasons.values())]
    if not shown:
        return None
    rows = [
        [label, str(tested[label]), str(counts.total()), *(str(counts[name] or "") for name in shown)]
        for label, counts in reasons.items()
    ]
    return Table("Why episodes failed", ["arm", "episodes", "failed", *shown], rows, REASONS_NOTE)


def solved_table(
    by_goal: Mapping[str, Mapping[str, float]], instructions: Mapping[str, str], arms: Sequence[str]
) -> Table | None:
    """Goals that one arm mostly solves and another mostly does not, the widest apart first."""
    arms = arms[:MAX_SOLVED_ARMS]
    apart = {}
    for goal, shares in by_goal.items():
        own = [shares[arm] for arm in arms if arm in shares]
        if len(own) > 1 and max(own) - min(own) >= 0.5:
            apart[goal] = max(own) - min(own)
    if not apart:
        return None
    goals = sorted(apart, key=lambda goal: -apart[goal])[:MAX_SOLVED_GOALS]
    rows = [
        [
            goal,
            instructions[goal],
            *(f"{by_goal[goal][arm]:.2f}" if arm in by_goal[goal] else "-" for arm in arms),
        ]
        for goal in goals
    ]
    more = f"; {len(apart) - len(goals)} goals more in goals.csv" if len(apart) > len(goals) else ""
    return Table(
        "What one arm solves and another does not",
        ["goal", "instruction", *arms],
        rows,
        f"Share of an arm's test episodes of the goal that succeeded, over its seeds{more}.",
    )


def pairs_table(comparison: Comparison) -> Table | None:
    """One row a pair of arms; None with a single arm."""
    if not comparison.pairs:
        return None
    rows = [
        [
            pair.high.label,
            pair.low.label,
            interval(pair.over_seeds, signed=True),
            "-" if pair.p is None else f"{pair.p:.3f}",
            interval(pair.improvement, digits=2),
            interval(pair.over_goals, signed=True),
            finding(pair, comparison),
        ]
        for pair in comparison.pairs
    ]
    columns = ["A", "B", "A - B over seeds", "p", "P(A > B)", "A - B over products", "finding"]
    chosen = "" if comparison.complete else " Of so many arms one is compared with each other one."
    num = comparison.num_pairs
    corrected = f", times {num} for the {num} pairs that have several seeds each" if num > 1 else ""
    return Table(
        f"Pairs of arms by {comparison.metric}",
        columns,
        rows,
        f"Mean [{PERCENT} interval]. p: chance of such a difference if runs were dealt to A and B at "
        f"random{corrected}. P(A > B): a run of A scores above a run of B.{chosen}",
    )


def products_table(comparison: Comparison) -> Table | None:
    """Each policy per goal and per product; None without evaluation tables."""
    rows = [
        [r.arm.label, interval(r.goals.estimate()), interval(r.goals.per_product())]
        for r in comparison.results
        if r.goals is not None
    ]
    if not rows:
        return None
    rows += [
        [_baseline_label(y), interval(y.estimate), interval(y.per_product)]
        for y in comparison.baselines
        if y.estimate is not None
    ]
    return Table(
        f"Per goal and per product: {comparison.metric}",
        ["policy", "per goal", "per product"],
        rows,
        f"Mean [{PERCENT} interval over products], arms averaged over their runs. Per goal every episode "
        "weighs alike, per product every product.",
    )


def stages_table(comparison: Comparison) -> Table | None:
    """Success of each arm at each stage of its curriculum; None without one."""
    rows = []
    for result in comparison.results:
        runs = result.arm.finished
        for stage in json.loads(result.arm.param("curriculum.stages") or "[]"):
            name = f"stage/{stage['name']}"
            rows.append(
                [
                    result.arm.label,
                    stage["name"],
                    interval(_over_runs(runs, f"{name}/test_success")),
                    interval(_over_runs(runs, f"{name}/baseline_rule_success")),
                    interval(_over_runs(runs, f"{name}/forgetting")),
                ]
            )
    if not rows:
        return None
    return Table(
        "Stages of the curriculum",
        ["arm", "stage", "test success", "rule", "forgetting"],
        rows,
        f"Mean [{PERCENT} interval over seeds]. Forgetting: the best validation success of the stage so far "
        "minus that of the last evaluation; - where no run reached the stage.",
    )


def _over_runs(runs: Sequence[Run], metric: str) -> Estimate | None:
    found = [run.metrics[metric] for run in runs if metric in run.metrics]
    return over_seeds(mean, found) if found else None


def unfinished_table(
    sweep: Sweep, arms: Sequence[Arm], reached: Mapping[str, int], links: Mapping[str, str] | None = None
) -> Table | None:
    """Runs that are in no comparison, with what became of them; None if all finished.

    Args:
        reached: last update by run id.
        links: from evidence.links_of.
    """
    rows = [
        [
            run.folder_name,
            arm.label,
            run.seed,
            _state(run),
            _progress(run, reached),
            _number(run, "val/success"),
            run.tags.get("error", "") or _no_error(run),
        ]
        for arm in arms
        for run in arm.runs
        if not run.finished
    ]
    for status, num in sweep.unrecorded.items():
        rows.append(["?", "?", "?", _STATES.get(status, status.lower()), "", "", f"{num} not in MLflow"])
    if not rows:
        return None
    columns = ["run", "arm", "seed", "state", "update", "val/success", "error"]
    return Table("Runs that did not finish", columns, rows, LOG_NOTE, links or {})


def runs_table(
    arms: Sequence[Arm], reached: Mapping[str, int], links: Mapping[str, str] | None = None
) -> Table:
    """Every run; `reached` and `links` as above."""
    rows = [
        [
            run.folder_name,
            arm.label,
            run.seed,
            _state(run),
            _progress(run, reached),
            _number(run, "test/success"),
            _number(run, "test/score"),
            _number(run, "train/episodes", digits=0),
            _number(run, "vstar/episodes", digits=0),
            _number(run, "time/train_s", digits=0),
            run.tags.get("sweep", "") or "a run of its own" if run.adopted else "",
            run.run_id,
        ]
        for arm in arms
        for run in arm.runs
    ]
    columns = [
        "run",
        "arm",
        "seed",
        "state",
        "update",
        "test/success",
        "test/score",
        "episodes",
        "V* episodes",
        "train s",
        "adopted from",
        "MLflow run",
    ]
    return Table("All runs", columns, rows, LOG_NOTE, links or {})


def provenance_table(sweep: Sweep, comparisons: Sequence[Comparison]) -> Table:
    """Where the numbers come from."""
    tags = {
        "code digest": "code_digest",
        "git commit": "git_commit",
        "uncommitted changes": "git_dirty",
        "data digest": "data_digest",
    }
    rows = [["sweep", sweep.name], ["tracker", sweep.uri]]
    for place, comparison in enumerate(comparisons, 1):
        which = f" of test set {place}" if len(comparisons) > 1 else ""
        rows.append(
            [f"split{which}", f"{comparison.protocol or 'not recorded'}, digest {comparison.split_digest}"]
        )
    rows += [[title, ", ".join(_recorded(sweep.runs, tag)) or "-"] for title, tag in tags.items()]
    return Table("Provenance", ["", ""], rows)


def revision_of(runs: Sequence[Run]) -> str:
    """Which code runs were of, in a sentence; "" where no run has recorded it."""
    commits = _recorded(runs, "git_commit")
    if not commits:
        return ""
    changed = " with uncommitted changes" if "true" in map(str.lower, _recorded(runs, "git_dirty")) else ""
    return f"Code: git commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}{changed}."


def _recorded(runs: Sequence[Run], tag: str) -> list[str]:
    return sorted({run.tags.get(tag, "") for run in runs} - {""})


def right_aligned(column: str) -> bool:
    """Whether a column holds bare numbers."""
    return column in (*_RIGHT, *(cost.column for cost in COSTS), *map(str, Reason)) or column.startswith(
        ("test/", "val/", "IQM", "minus", "train s", "A - B", "P(", "per ")
    )


def _described(comparison: Comparison) -> str:
    goals = comparison.goals
    split = f"split {comparison.protocol or 'not recorded'}"
    kind = "training goals" if comparison.training_goals else "test goals"
    if goals is None:
        return f"the {kind}, {split}, digest {comparison.split_digest[:12]}"
    return (
        f"{len(goals.goals)} {kind} of {in_effect(goals.num_products, goals.effective_products)}, "
        f"{goals.weights.sum():.0f} episodes, "
        f"{split}, digest {comparison.split_digest[:12]}"
    )


def _arm_cells(result: ArmResult, metric: str) -> list[str]:
    arm = result.arm
    finished, planned = len(arm.finished), len(arm.runs) + arm.to_come
    seeds = str(finished) if finished == planned else f"{finished} of {planned}"
    means = [interval(result.means[m]) for m in ("test/success", "test/score")]
    return [arm.label, seeds, *means, interval(result.iqms[metric])]


def _baseline_cells(baseline: Baseline, metric: str) -> list[str]:
    values: Mapping[str, float] = {"test/success": baseline.success, "test/score": baseline.score}
    cells = [
        interval(baseline.estimate) if m == metric and baseline.estimate else f"{value:.3f}"
        for m, value in values.items()
    ]
    return [_baseline_label(baseline), "", *cells]


def _baseline_label(baseline: Baseline) -> str:
    name = _baseline(baseline.name)
    return f"{name} ({', '.join(baseline.arms)})" if baseline.arms else name


def _baseline(name: str) -> str:
    return name.removeprefix("baseline/")


def _state(run: Run) -> str:
    if run.status == "FINISHED" and not run.finished:
        return "finished without a test"
    return _STATES.get(run.status, "running")


def _no_error(run: Run) -> str:
    return "no error recorded" if run.status == "FAILED" else ""


def _progress(run: Run, reached: Mapping[str, int]) -> str:
    planned = run.tags.get("planned_updates") or run.params.get("num_updates", "?")
    return f"{reached.get(run.run_id, 0)}/{planned}"


def _number(run: Run, metric: str, digits: int = 3) -> str:
    return f"{run.metrics[metric]:.{digits}f}" if metric in run.metrics else "-"


def _escaped(cell: str) -> str:
    return " ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
