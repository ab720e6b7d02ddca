"""What becomes of the older systems' claims: `python -m analysis.claims SWEEP`, a sweep of experiment=claims.

Each claim names two arms that differ in one thing (or one arm), what is measured of a run, and a margin. It
is decided in each shop apart, by the interval over seeds of the difference of means (or of the mean):

    more     holds: the interval is above the margin;  fails: it is below
    differs  holds: the interval is above the margin, or below minus the margin;  fails: it lies between

All else is undecided. Of two arms more is held against chance: a claim holds only if a permutation test has
p <= 0.05, too. Fewer than MIN_SEEDS finished seeds an arm decide nothing; a seed that was played twice counts
once, by its newest run. A second table counts the runs that end below their best (falls.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from webshop_rl.cli import command
from webshop_rl.statistics import CONFIDENCE, Estimate, difference, interval, mean, over_seeds, permutation_p

from . import falls

if TYPE_CHECKING:
    import pandas as pd

    from .load import Run

MIN_SEEDS: Final = 4
SYSTEM: Final = "system"  # the group of conf/ whose options are the arms
VALIDATION: Final = "val/success"
TRAINING: Final = "train/success"
CURVES: Final = (VALIDATION, TRAINING)

Curve = Sequence[float]


@dataclass(frozen=True)
class Claim:
    """A claim and what decides it.

    Attributes:
        says: the claim, in a sentence.
        kind: "more" or "differs"; see the module.
        measure: of a run's validation success: "end", the last; "fall", the best minus the last.
        arm: option of conf/system.
        than: the other arm; "" for a claim about `arm` alone.
        margin: what counts as a difference, in success.
    """

    name: str
    says: str
    kind: str
    measure: str
    arm: str
    than: str = ""
    margin: float = 0.05


CLAIMS: Final = (
    Claim(
        "weighted_sft",
        "weighted SFT learns where the policy gradient fails",
        "more",
        "end",
        "seed_weighted_sft",
        "seed_weighted_sft_pg",
    ),
    Claim(
        "squared_loss",
        "the squared loss on the scaled advantage is what kept A*PO from learning",
        "more",
        "end",
        "seed_new_ragen_fixed",
        "seed_new_ragen_fixed_squared",
    ),
    Claim(
        "repair",
        "the repaired system ends above the broken one, all its settings taken together",
        "more",
        "end",
        "seed_new_ragen_fixed",
        "seed_new_ragen_broken",
    ),
    Claim(
        "length",
        "dividing log-probs by length costs success",
        "more",
        "end",
        "seed_ragen_apo_sum",
        "seed_ragen_apo",
    ),
    Claim(
        "vstar_max",
        "V* as maximum and as soft maximum come to different ends",
        "differs",
        "end",
        "seed_new_ragen_fixed",
        "seed_new_ragen_fixed_soft",
    ),
    Claim(
        "collapse",
        "A*PO without an anchor falls after its peak",
        "more",
        "fall",
        "seed_apo_only",
        margin=0.1,
    ),
    Claim(
        "collapse_broken",
        "A*PO with the squared loss falls after its peak",
        "more",
        "fall",
        "seed_new_ragen_broken",
        margin=0.1,
    ),
    Claim(
        "anchor",
        "an anchor to the reference lessens that fall",
        "more",
        "fall",
        "seed_apo_only",
        "seed_apo_only_kl",
    ),
)


@dataclass(frozen=True)
class Decision:
    """What a claim came to in one shop.

    Attributes:
        verdict: "holds", "fails" or "undecided".
        effect: the difference, or the mean of one arm, over seeds; None without runs.
        p: of the permutation test of two arms, or None.
        num_seeds: finished, of the arm that has fewest.
    """

    verdict: str
    effect: Estimate | None
    p: float | None
    num_seeds: int


def measured(curve: Curve, measure: str) -> float:
    """A run's number: "end", its last validation success, or "fall", its best minus its last.

    Args:
        curve: validation success in order of updates, at least one.
    """
    return max(curve) - curve[-1] if measure == "fall" else curve[-1]


def decide(claim: Claim, curves: Mapping[str, Sequence[Curve]]) -> Decision:
    """Decide a claim in one shop.

    Args:
        curves: of the finished runs of each arm.
    """
    arms = [claim.arm, claim.than] if claim.than else [claim.arm]
    values = [[measured(curve, claim.measure) for curve in curves.get(arm, ())] for arm in arms]
    num_seeds = min(map(len, values))
    if num_seeds == 0:
        return Decision("undecided", None, None, 0)
    if claim.than:
        effect = over_seeds(difference, *values)
        p = permutation_p(*values) if num_seeds > 1 else None
    else:
        effect = over_seeds(mean, *values)
        p = None
    by_chance = bool(claim.than) and (p is None or p > 1 - CONFIDENCE + 1e-12)
    verdict = _verdict(claim, effect, by_chance=by_chance) if num_seeds >= MIN_SEEDS else "undecided"
    return Decision(verdict, effect, p, num_seeds)


def _verdict(claim: Claim, effect: Estimate, *, by_chance: bool) -> str:
    if effect.low is None or effect.high is None:
        return "undecided"
    above = effect.low > claim.margin
    beyond = above or effect.high < -claim.margin
    within = -claim.margin <= effect.low and effect.high <= claim.margin
    holds = beyond if claim.kind == "differs" else above
    fails = within if claim.kind == "differs" else effect.high < claim.margin
    if holds:
        return "undecided" if by_chance else "holds"
    return "fails" if fails else "undecided"


def table(curves: Mapping[str, Mapping[str, Sequence[Curve]]]) -> str:
    """Every claim in every shop, as Markdown.

    Args:
        curves: by shop, by arm.
    """
    rows = []
    for claim in CLAIMS:
        for shop in curves:
            found = decide(claim, curves[shop])
            effect = "no run" if found.effect is None else interval(found.effect, signed=True)
            p = "" if found.p is None else f"{found.p:.3f}"
            cells = (claim.says, shop, rule(claim), effect, p, str(found.num_seeds), f"**{found.verdict}**")
            rows.append(f"| {' | '.join(cells)} |")
    head = "| claim | shop | measure, margin | effect [95 %] | p | seeds | |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *rows])


def rule(claim: Claim) -> str:
    """What is measured of a claim, in a few words."""
    what = {"end": "success at the end", "fall": "best success minus that at the end"}[claim.measure]
    arms = f"`{claim.arm}` minus `{claim.than}`" if claim.than else f"`{claim.arm}`"
    sign = "beyond ±" if claim.kind == "differs" else "> "
    return f"{what}, {arms} {sign}{claim.margin:g}"


@dataclass(frozen=True)
class Played:
    """A finished run.

    Attributes:
        arm: option of conf/system.
        curves: of CURVES, by name, each by update in their order.
    """

    shop: str
    arm: str
    curves: Mapping[str, pd.Series]


def read_played(root: Path, sweep: str) -> list[Played]:
    """A sweep's finished runs that were validated, one a seed.

    Raises: UserError if there is no such sweep.
    """
    from .load import load_curves, load_sweep
    from .plan import read_plan
    from .report import replay
    from .tracker import open_tracker, tracker_uri

    replay(root)
    uri = tracker_uri(root, None)
    client = open_tracker(uri)
    found = load_sweep(client, uri, sweep, root=root)
    parent = client.get_run(found.parent_id)
    plan = read_plan(client, parent, found.name, root)
    arm_of = {run.signature: _option(run.overrides, SYSTEM) for run in (plan.runs if plan else ())}
    finished = [run for run in found.runs if run.finished and arm_of.get(run.signature)]
    chosen = newest_of_each_seed(finished, arm_of)
    points = load_curves(client, uri, chosen, CURVES)
    played = []
    for run in chosen:
        own = points[points["run_id"] == run.run_id]
        curves = {name: own[own["metric"] == name].set_index("step")["value"].sort_index() for name in CURVES}
        if len(curves[VALIDATION]):
            played.append(Played(_shop(run), arm_of[run.signature], curves))
    return played


def by_shop(played: Iterable[Played]) -> dict[str, dict[str, list[Curve]]]:
    """Validation curves by shop, by arm."""
    found: dict[str, dict[str, list[Curve]]] = {}
    for run in played:
        found.setdefault(run.shop, {}).setdefault(run.arm, []).append(run.curves[VALIDATION].tolist())
    return found


def falls_by_shop(played: Iterable[Played]) -> dict[str, list[falls.Ends]]:
    """How each run ended beside its best, by shop."""
    found: dict[str, list[falls.Ends]] = {}
    for run in played:
        found.setdefault(run.shop, []).append(falls.ends(run.curves[VALIDATION], run.curves[TRAINING]))
    return found


def newest_of_each_seed(runs: Iterable[Run], arm_of: Mapping[str, str]) -> list[Run]:
    """One run of each seed of an arm in a shop: a seed played again, by newer code, is no second observation.

    Args:
        arm_of: option of conf/system by signature.
    """
    newest = {
        (_shop(run), arm_of[run.signature], run.seed): run for run in sorted(runs, key=lambda r: r.started)
    }
    return list(newest.values())


def _shop(run: Run) -> str:
    return run.params.get("env.name", "?")


def _option(overrides: Sequence[str], key: str) -> str:
    """The value of an override, "" without it."""
    pairs = (override.lstrip("+").partition("=") for override in overrides)
    return next((value for name, _, value in pairs if name == key), "")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Print every claim with its decision, and how many runs fell after their peak; 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m analysis.claims", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("sweep", nargs="?", default="claims")
    parser.add_argument("--root", type=Path, default=Path("runs"))
    options = parser.parse_args(arguments)
    played = read_played(options.root, options.sweep)
    print(table(by_shop(played)))
    print()
    print(falls.table(falls_by_shop(played)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
