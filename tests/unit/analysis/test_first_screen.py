"""What the first screen says: headline, advice, the table of arms, reasons; hostile text is inert."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from analysis.advice import seeds_to_settle
from analysis.arms import arms_of
from analysis.cautions import Caution
from analysis.comparison import Comparison, compare
from analysis.failures import failures_markdown
from analysis.goals import GoalScores
from analysis.headline import headline
from analysis.page import Report
from analysis.survey import Played, reasons_by_arm, success_by_goal, survey, usual_reason
from analysis.tables import Table, reasons_table, solved_table, summary_table
from tests.support.analysis_runs import make_run, make_sweep

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "x" * 4000,
    "\u202egnol\u05d0\u05d1",
    "~~~\n# no",
)


def compared(**scores: list[float]) -> tuple[list[Any], Comparison]:
    runs = [make_run(algo, seed, score) for algo, own in scores.items() for seed, score in enumerate(own)]
    (comparison,) = compare(arms_of(runs), "test/score", lambda run, evaluation: None)
    return runs, comparison


def said(**scores: list[float]) -> str:
    runs, comparison = compared(**scores)
    return headline(make_sweep(runs), [comparison])


def test_the_headline_says_which_how_sure_and_what_is_open() -> None:
    far = [0.80, 0.81, 0.82, 0.83, 0.84]
    assert said(a=far, b=[0.10, 0.11, 0.12, 0.13, 0.14]).startswith("algo=a is best with test/score 0.820 [")
    close = said(a=[0.80, 0.60, 0.70], b=[0.65, 0.64, 0.50])
    assert close.startswith("No arm is shown to be best: algo=a leads with test/score 0.700 [")
    assert "no significant difference from algo=b; " in close
    assert "more seeds an arm would settle it" in close
    # One lucky seed leads nothing.
    lucky = said(a=far, b=[0.9])
    assert lucky.startswith("algo=a has the highest")
    assert "one finished seed" in lucky
    assert said(a=[0.5, 0.5], b=[0.5, 0.5]) == "Both arms reached the same test/score, 0.500."
    # Of two that share the highest mean none leads, and what is settled or not is about the others.
    shared = said(a=[0.8, 0.6, 0.7], b=[0.8, 0.6, 0.7], c=[0.6, 0.5, 0.55])
    assert shared.startswith(
        "No arm is shown to be best: algo=a and algo=b share the highest test/score 0.700 ["
    )
    assert "over 3 seeds, no significant difference from algo=c; " in shared
    assert "not even" not in shared  # that would be about a and b
    assert headline(make_sweep([]), []).startswith("No run has finished with a test")


def test_of_equal_arms_the_one_with_more_seeds_leads() -> None:
    """Beside the three seeds of b the worst arm could not be shown to be worse: p = 6 / C(8, 3)."""
    found = said(b=[1.0] * 3, a=[1.0] * 5, c=[0.0] * 5, d=[0.0] * 5)
    assert found.startswith(
        "algo=a and algo=b share the highest test/score 1.000 [1.000, 1.000] over 3 to 5 seeds"
    )
    assert ", higher than algo=c and algo=d" in found


def test_seeds_that_would_settle_a_pair_by_hand() -> None:
    """d = 0.1, s² = 0.01 each; (1.960 + 0.842)² · 0.02 / 0.01 = 15.7."""
    _, comparison = compared(a=[0.6, 0.7, 0.8], b=[0.5, 0.6, 0.7])
    assert seeds_to_settle(comparison.pairs[0], comparison) == 16
    # No fewer than the permutation test needs: 4 for one pair.
    _, comparison = compared(a=[0.90, 0.91, 0.92], b=[0.1, 0.11, 0.12])
    assert seeds_to_settle(comparison.pairs[0], comparison) == 4
    _, comparison = compared(a=[0.60, 0.70, 0.8], b=[0.59, 0.69, 0.8])
    assert seeds_to_settle(comparison.pairs[0], comparison) is None


def record(goal: str, text: str, *, success: bool = False) -> dict[str, Any]:
    turn = {
        "page": f"{text} [SEP] Buy Now",
        "reply": text,
        "action": f"click[{text}]",
        "reward": 0.0,
        "valid": True,
    }
    turn |= {"parts": {}, "kind": "open", "page_kind": "results", "asins": [], "chosen": {}}
    whole = {"goal": goal, "asin": "A", "instruction": text, "score": float(success), "success": success}
    return whole | {"end": "max_steps", "bought": "", "turns": [turn]}


def surveyed(*texts: str) -> list[Played]:
    arms = arms_of([make_run(algo, seed, 0.5) for algo in "ab" for seed in (0, 1)])

    def read(run: Any) -> list[dict[str, Any]]:
        return [
            record(f"g{n}", text, success=run.params["algo.name"] == "a" and n == 0)
            for n, text in enumerate(texts)
        ]

    return survey(arms, read)


def test_of_each_arm_and_reason_two_goals_are_kept_whole() -> None:
    played = surveyed("w", "x", "y", "z")
    assert len(played) == 16
    assert sum(e.record is not None for e in played) == 5  # a success of a's, and two failures of each arm
    for arm in ("algo=a", "algo=b"):
        kept = [e.goal for e in played if e.arm == arm and e.record and e.reason]
        assert len(kept) == len(set(kept)) == 2
    assert reasons_by_arm(played)["algo=b"] == {"right product never listed": 8}
    assert usual_reason({"loop": 1, "over the price": 3}) == "over the price (75%)"
    assert (played[0].row()["run"], "record" in played[0].row()) == (played[0].run, False)


def test_goals_that_one_arm_solves_and_another_does_not() -> None:
    by_goal = {"g0": {"a": 1.0, "b": 0.0}, "g1": {"a": 1.0, "b": 0.75}, "g2": {"a": 0.0, "b": 0.5}}
    table = solved_table(by_goal, {"g0": "zero", "g2": "two"}, ["a", "b"])
    assert table is not None
    assert [list(row) for row in table.rows] == [
        ["g0", "zero", "1.00", "0.00"],
        ["g2", "two", "0.00", "0.50"],
    ]
    assert success_by_goal(surveyed("w"))["g0"] in (
        {"algo=a": 0.0, "algo=b": 0.0},
        {"algo=a": 1.0, "algo=b": 0.0},
    )
    assert solved_table({"g": {"a": 1.0, "b": 0.9}}, {}, ["a", "b"]) is None


def test_the_first_table_has_a_line_an_arm() -> None:
    _, comparison = compared(a=[0.80, 0.81, 0.82, 0.83], b=[0.1, 0.11, 0.12, 0.13], c=[0.9])
    reasons = reasons_by_arm(surveyed("w"))
    table = summary_table(comparison, reasons, cost={"algo=a": ["1.00", "7"]})
    against = {row[0]: row[4] for row in table.rows}
    assert against["algo=a"] == "leads"
    assert against["algo=b"].startswith("lower by 0.70 [")
    assert against["algo=c"] == "not compared: one seed"
    assert reasons_table({}, {}) is None
    _, comparison = compared(a=[0.8, 0.6], b=[0.7])
    assert [row[4] for row in summary_table(comparison, {}, cost={}).rows] == [
        "leads",
        "not compared: one seed",
    ]
    _, comparison = compared(a=[0.7], b=[0.7], c=[0.2])
    against = [row[4] for row in summary_table(comparison, {}, cost={}).rows]
    assert against == ["shares the lead", "shares the lead", "not compared: one seed"]
    tied = said(a=[0.7], b=[0.7], c=[0.2])
    assert tied.startswith(
        "algo=a and algo=b share the highest test/score 0.700 over 1 seed each; one finished"
    )
    _, comparison = compared(a=[0.8, 0.6], b=[0.8, 0.6])
    assert [row[4] for row in summary_table(comparison, {}, cost={}).rows] == ["shares the lead"] * 2


def test_policies_that_were_not_trained_are_named_where_the_leading_arm_is_not_above_them() -> None:
    """Goal by goal: a is .2 below rule, level with first, above random."""
    others = {"rule": 0.9, "first": 0.7, "random": 0.1}
    own = {f"baseline/{name}/{m}": v for name, v in others.items() for m in ("score", "success")}
    runs = [make_run("a", seed, 0.7, metrics=own) for seed in (0, 1)]
    wave = np.tile([-0.05, 0.05], 10)  # first is better on every second goal

    def read(run: Any, evaluation: str) -> GoalScores:
        value = {"test": 0.7, **{f"baseline/{name}": v for name, v in others.items()}}.get(evaluation)
        if value is None:
            value = 0.0
        own = np.full(20, value) + (wave if evaluation == "baseline/first" else 0.0)
        return GoalScores(tuple(map(str, range(20))), tuple(f"P{i}" for i in range(20)), np.ones(20), own)

    (comparison,) = compare(arms_of(runs), "test/score", read)
    found = headline(make_sweep(runs), [comparison])
    assert "it is below the scripted policy rule (0.90); " in found
    assert found.endswith("it is not significantly different from the scripted policy first (0.70).")
    wave[:] = 0  # the same score on every goal: nothing to be significant
    (comparison,) = compare(arms_of(runs), "test/score", read)
    found = headline(make_sweep(runs), [comparison])
    assert found.endswith("it is level with the scripted policy first (0.70).")


class Inert(HTMLParser):
    """Collects the tags and attributes that a page really has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    played = surveyed(text)
    table = Table(text, ["arm", text], [[text, text]], text)
    report = Report(
        title=text, headline=text, verdict=text, first=[table], cautions=[Caution(text, text)],
        tables=[table], played=played,
    )  # fmt: skip
    found = Inert(report.html())
    assert found.tags.count("script") == 1
    assert found.tags.count("details") == 3  # one episode an arm, and a table
    assert "img" not in found.tags
    assert not [name for name in found.attributes if name.startswith("on") and name != "onsubmit"]
    markdown = failures_markdown(played)
    assert markdown.count("~~~") % 2 == 0
    assert [line for line in markdown.splitlines() if line.startswith("# ")] == ["# Why test episodes failed"]
