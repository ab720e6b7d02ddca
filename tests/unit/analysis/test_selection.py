"""Which runs a report is about: queries over what runs record, and several sweeps in one report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.arms import arms_of
from analysis.selection import combined, select
from tests.support.analysis_runs import make_run, make_sweep
from webshop_rl.errors import UserError

RUNS = [
    make_run("ppo", 0, 0.2, tags={"sweep": "first", "host": "n1"}),
    make_run("ppo", 1, 0.8, lr="1e-05", tags={"sweep": "first", "host": "n2"}),
    make_run("apo_pg", 10, 0.5, lr="1e-05", algo__kl_coef="0.1", tags={"sweep": "second"}),
    make_run("apo_pg", 2, status="FAILED", tags={"sweep": "second"}),
]


@pytest.mark.parametrize(
    ("query", "fitting"),
    [
        ("algo=ppo", [0, 1]),
        ("algo.name=ppo", [0, 1]),
        ("lr=1e-5", [1, 2]),  # numbers as numbers: MLflow has "1e-05"
        ("lr=0.00001 algo=ppo", [1]),
        ("lr<1e-5", [0, 3]),
        ("seed>=2", [2, 3]),  # 10 is above 2
        ("seed!=0,1", [2, 3]),
        ("algo=ppo,apo_pg seed=2,0", [0, 3]),
        ("test/success>0.4", [1, 2]),  # the failed run has no such value
        ("test/success<=0.5", [0, 2]),
        ("status=FINISHED", [0, 1, 2]),
        ("status=finished", [0, 1, 2]),
        ("sweep=sec*", [2, 3]),
        ("host=n1", [0]),
        ("host!=n1", [1]),  # a run without the key fits no condition
        ("algo.kl_coef=0.1", [2]),
        ("kl_coef=0.1", [2]),  # the end of a key that only one key has
        ("'algo=ppo'", [0, 1]),
    ],
)
def test_a_query_selects_by_configuration_metrics_and_tags(query: str, fitting: list[int]) -> None:
    assert select(RUNS, query) == [RUNS[i] for i in fitting]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("algo", "--runs algo: is no condition"),
        ("lr=", "--runs lr=: is no condition"),
        ("lr<fast", "'fast' is no number"),
        ("lrr=1", "no run has 'lrr' (did you mean lr?)"),
        ("algo=ppo lr=3", "no run fits (of the runs that fit the rest, lr is 5e-06, 1e-05)"),
        ("'algo=ppo", "a quote is not closed"),
        ("", "is empty"),
        ("name=webshop", "'name' may be algo.name or env.name"),
    ],
)
def test_a_query_that_selects_nothing_says_what_there_is(query: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        select(RUNS, query)
    assert said in str(caught.value)


def sweep_of(name: str, *seeds: int, algo: str = "ppo", **changes: object) -> object:
    runs = [make_run(algo, seed, 0.5) for seed in seeds]
    runs = [replace(run, run_id=f"{name}-{run.run_id}", **changes) for run in runs]  # type: ignore[arg-type]
    return replace(make_sweep(runs), name=name, parent_id=name, to_come=1, unrecorded={"FAILED": 1})


def test_arms_of_several_sweeps_are_named_by_the_sweep_only_where_nothing_else_differs() -> None:
    before, after = sweep_of("before", 0, 1), sweep_of("after", 0, 1)
    both = combined([before, after])  # type: ignore[list-item]
    assert [arm.label for arm in arms_of(both.runs)] == ["sweep=after", "sweep=before"]
    assert [len(arm.runs) for arm in arms_of(both.runs)] == [2, 2]
    assert (both.name, both.parent_id) == ("before+after", "")
    assert (both.to_come, both.unrecorded) == (2, {"FAILED": 2})
    other = combined([before, sweep_of("after", 0, algo="apo_pg")])  # type: ignore[list-item]
    assert [arm.label for arm in arms_of(other.runs)] == ["algo=apo_pg", "algo=ppo"]


def test_a_run_that_two_sweeps_contain_counts_once() -> None:
    first = sweep_of("first", 0, 1)
    second = replace(sweep_of("second", 2), runs=[*first.runs, *sweep_of("second", 2).runs])  # type: ignore
    arms = arms_of(combined([first, second]).runs)  # type: ignore[list-item]
    assert {arm.label: [run.seed for run in arm.runs] for arm in arms} == {
        "sweep=first": ["0", "1"],
        "sweep=second": ["2"],
    }


def test_one_sweep_stays_what_it_is() -> None:
    alone = sweep_of("alone", 0)
    assert combined([alone]) is alone  # type: ignore[list-item]


def test_sweeps_that_share_no_test_set_are_refused() -> None:
    split = [
        replace(run, params={**run.params, "env.split": "none"}, tags={**run.tags, "split_digest": "d2"})
        for run in sweep_of("none", 0).runs  # type: ignore[attr-defined]
    ]
    other = replace(sweep_of("none"), runs=split)  # type: ignore[type-var]
    with pytest.raises(UserError, match="tested on different episodes") as caught:
        combined([sweep_of("product", 0), other])  # type: ignore[list-item]
    assert "env.split product and none" in str(caught.value)
    assert "a report for each" in str(caught.value)
