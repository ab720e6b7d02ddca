"""The rule by which claims of the older systems are decided."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from analysis.claims import CLAIMS, Claim, Decision, decide, measured, newest_of_each_seed, rule, table
from tests.support.analysis_runs import make_run
from tests.support.paths import CONF
from tests.support.shop5_parts import composed
from webshop_rl.config.walk import plain, walk

MORE = Claim("m", "A ends above B", "more", "end", "a", "b", margin=0.1)
DIFFERS = Claim("d", "A and B end apart", "differs", "end", "a", "b", margin=0.1)
FALLS = Claim("f", "A falls", "more", "fall", "a", margin=0.1)

HIGH = [0.9, 0.95, 0.9, 1.0, 0.95]
LOW = [0.1, 0.2, 0.1, 0.15, 0.1]
WIDE = [0.0, 1.0, 0.0, 1.0, 0.5]


def ending(values: list[float]) -> list[list[float]]:
    """Curves that end so; what comes before is not to matter."""
    return [[0.0, 1.0, value] for value in values]


def decided(claim: Claim, a: list[float], b: list[float]) -> Decision:
    return decide(claim, {"a": ending(a), "b": ending(b)})


@pytest.mark.parametrize(
    ("claim", "a", "b", "verdict"),
    [
        (MORE, HIGH, LOW, "holds"),
        (MORE, LOW, HIGH, "fails"),
        (MORE, HIGH, HIGH, "fails"),  # the difference is less than the margin
        (MORE, [0.12] * 5, [0.0] * 5, "holds"),
        (MORE, WIDE, LOW, "undecided"),
        (DIFFERS, HIGH, LOW, "holds"),
        (DIFFERS, LOW, HIGH, "holds"),
        (DIFFERS, HIGH, [0.92, 0.95, 0.9, 0.97, 0.95], "fails"),
        (DIFFERS, WIDE, HIGH, "undecided"),
        (MORE, HIGH[:3], LOW[:3], "undecided"),  # three seeds decide nothing
        # The interval is above the margin, but chance separates four and four as much: p = 4 / 70.
        (MORE, [0.3, 0.6, 0.6, 0.6], [0.35, 0.2, 0.2, 0.2], "undecided"),
    ],
)
def test_two_arms(claim: Claim, a: list[float], b: list[float], verdict: str) -> None:
    assert decided(claim, a, b).verdict == verdict


def test_the_effect_is_the_difference_of_means() -> None:
    found = decided(MORE, HIGH, LOW)
    assert found.effect is not None
    assert found.effect.value == pytest.approx(0.94 - 0.13)
    assert found.p == pytest.approx(2 / 252)  # of C(10, 5) ways to deal them, the best and its mirror image
    assert found.num_seeds == 5


def test_a_fall_is_the_best_minus_the_last() -> None:
    assert measured([0.1, 0.8, 0.4], "fall") == pytest.approx(0.4)
    assert measured([0.1, 0.8, 0.4], "end") == 0.4
    assert measured([0.1, 0.8], "fall") == 0
    fallen = {"a": [[0.1, 0.8, value] for value in (0.4, 0.5, 0.3, 0.4, 0.45)]}
    assert decide(FALLS, fallen).verdict == "holds"
    assert decide(FALLS, {"a": [[0.0, 0.5, 0.5]] * 5}).verdict == "fails"
    assert decide(FALLS, {"a": [[0.0, 1.0, v] for v in (1.0, 0.2, 1.0, 0.9, 1.0)]}).verdict == "undecided"


def test_without_runs_nothing_is_decided() -> None:
    assert decide(MORE, {"a": ending(HIGH)}) == Decision("undecided", None, None, 0)
    assert "no run" in table({"shop5": {}})


def test_a_seed_played_again_counts_once() -> None:
    older, newer, other = (
        replace(make_run("ppo", seed, 0.5, tags={"signature": name}), run_id=name, started=started)
        for name, seed, started in (("new", 0, 9), ("old", 0, 3), ("other", 1, 1))
    )
    chosen = newest_of_each_seed([older, newer, other], {"new": "arm", "old": "arm", "other": "arm"})
    assert {run.run_id for run in chosen} == {"new", "other"}
    assert len(newest_of_each_seed([older, newer], {"new": "arm", "old": "its rival"})) == 2


def test_every_claim_is_about_arms_of_the_experiment_and_every_arm_of_a_claim() -> None:
    params = yaml.safe_load((CONF / "experiment" / "claims.yaml").read_text())["hydra"]["sweeper"]["params"]
    swept = {name.strip() for name in params["system"].split(",")}
    named = {arm for claim in CLAIMS for arm in (claim.arm, claim.than) if arm}
    assert swept == named
    assert swept == {path.stem for path in (CONF / "system").glob("*.yaml")}
    assert all(rule(claim) for claim in CLAIMS)


def _differing(one: str, other: str) -> set[str]:
    """Keys in which two systems differ, but for those of the algorithm where it is another."""
    a, b = (
        {key.name: key.value for key in walk(plain(composed("experiment=claims", f"system={name}")))}
        for name in (one, other)
    )
    shared = {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}
    return {name for name in shared if not name.startswith("algo.") or a["algo.name"] == b["algo.name"]}


@pytest.mark.parametrize(
    ("one", "other", "keys"),
    [
        ("seed_weighted_sft", "seed_weighted_sft_pg", set()),
        ("seed_new_ragen_fixed", "seed_new_ragen_fixed_squared", set()),
        ("seed_new_ragen_fixed", "seed_new_ragen_fixed_soft", {"vstar.estimator"}),
        ("seed_ragen_apo", "seed_ragen_apo_sum", {"algo.loss_norm"}),
        ("seed_apo_only", "seed_apo_only_kl", {"algo.kl_coef"}),
    ],
)
def test_the_arms_of_a_claim_differ_in_one_thing(one: str, other: str, keys: set[str]) -> None:
    assert _differing(one, other) == keys
