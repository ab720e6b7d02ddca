"""Which stage training goals come from: every transition by hand, and that it is all in the state."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from webshop_rl.config.groups import CurriculumConfig
from webshop_rl.statistics import wilson
from webshop_rl.training.curriculum import Curriculum

NAMES = ("a", "b", "c")


def curriculum(state: dict[str, Any] | None = None, **rules: Any) -> Curriculum:
    given = {
        "window": 20,
        "promote_at": 0.5,
        "demote_below": 0.2,
        "min_collections": 2,
        "replay": 0.25,
    }
    stages = [{"name": name} for name in NAMES]
    return Curriculum(CurriculumConfig(name="test", stages=stages, **{**given, **rules}), state)


def outcomes(successes: int, failures: int) -> list[bool]:
    return [True] * successes + [False] * failures


# Wilson bounds of s successes in n, z = 1.96:  10/10: 0.722-1.000;  8/10: 0.490-0.943;  9/10: 0.596-0.982;
# 0/10: 0.000-0.278;  0/20: 0.000-0.161;  16/20: 0.584-0.919;  10/20: 0.299-0.701
TRANSITIONS = [
    # stage, collections so far, outcomes so far, new outcomes -> stage, collections, outcomes kept
    ("nothing happens before the minimum dwell", (0, 0, []), (10, 0), (0, 1, 10)),
    ("promoted above the threshold", (0, 1, []), (10, 0), (1, 0, 0)),
    ("8 of 10 may be luck", (0, 1, []), (8, 2), (0, 2, 10)),
    ("16 of 20 are enough", (0, 1, outcomes(8, 2)), (8, 2), (1, 0, 0)),
    ("the window forgets the oldest", (0, 5, outcomes(0, 20)), (20, 0), (1, 0, 0)),
    ("half of the window is old", (0, 5, outcomes(0, 20)), (10, 0), (0, 6, 20)),
    ("demoted below the threshold", (1, 1, outcomes(0, 10)), (0, 10), (0, 0, 0)),
    ("10 failures may be bad luck", (1, 1, []), (0, 10), (1, 2, 10)),
    ("no demotion before the minimum dwell", (1, 0, outcomes(0, 10)), (0, 10), (1, 1, 20)),
    ("nothing before the first stage", (0, 1, outcomes(0, 10)), (0, 10), (0, 2, 20)),
    ("nothing after the last stage", (2, 1, outcomes(10, 0)), (10, 0), (2, 2, 20)),
    ("a collection of replays alone decides nothing", (1, 1, []), (0, 0), (1, 2, 0)),
]


@pytest.mark.parametrize(
    ("before", "new", "after"), [t[1:] for t in TRANSITIONS], ids=[t[0] for t in TRANSITIONS]
)
def test_transitions(
    before: tuple[int, int, list[bool]], new: tuple[int, int], after: tuple[int, int, int]
) -> None:
    stage, collections, so_far = before
    machine = curriculum({"stage": stage, "reached": stage, "collections": collections, "outcomes": so_far})
    moved = machine.take([stage], {NAMES[stage]: outcomes(*new)})
    state = machine.state
    assert (state.stage, state.collections, len(state.outcomes)) == after
    assert (moved is not None) == (stage != after[0]) == (state.moves == 1)
    if moved:
        assert moved.startswith(f"{'promoted' if after[0] > stage else 'demoted'} from {NAMES[stage]} to ")


def test_episodes_of_other_stages_do_not_count() -> None:
    machine = curriculum({"stage": 1, "reached": 1, "collections": 9})
    assert machine.take([0, 1], {"a": outcomes(20, 0), "b": outcomes(1, 1)}) is None
    assert machine.state.outcomes == [True, False]


def test_a_stage_once_reached_stays_reached() -> None:
    machine = curriculum({"stage": 1, "reached": 1, "collections": 5, "outcomes": outcomes(0, 20)})
    machine.take([1], {"b": outcomes(0, 1)})
    assert (machine.at, machine.reached) == ("a", ["a", "b"])


def test_a_plan_is_a_function_of_seed_iteration_and_stage() -> None:
    machine = curriculum({"stage": 2, "reached": 2})
    before = machine.as_json()
    plans = [machine.plan(8, iteration, seed=3) for iteration in range(50)]
    assert plans == [machine.plan(8, iteration, seed=3) for iteration in range(50)]
    assert machine.as_json() == before
    assert plans != [machine.plan(8, iteration, seed=4) for iteration in range(50)]
    assert all(plan == sorted(plan) for plan in plans)


def test_replay_is_its_share_and_of_all_earlier_stages_alike() -> None:
    drawn = Counter(stage for i in range(500) for stage in curriculum({"stage": 2}).plan(8, i, seed=0))
    # 4,000 goals: 0.75 of the stage, 0.125 of each earlier one; standard deviations 27 and 21
    assert abs(drawn[2] - 3000) < 100
    assert abs(drawn[0] - 500) < 80
    assert abs(drawn[1] - 500) < 80


def test_without_replay_or_at_the_first_stage_all_goals_are_of_the_stage() -> None:
    assert curriculum({"stage": 2}, replay=0.0).plan(8, 0, seed=0) == [2] * 8
    assert all(curriculum().plan(8, i, seed=0) == [0] * 8 for i in range(20))


def test_goals_drawn_are_counted_by_stage() -> None:
    machine = curriculum()
    machine.take([0, 0, 0], {})
    machine.take([0, 2], {})
    assert machine.state.drawn == [4, 0, 1]


def test_the_whole_state_goes_through_json() -> None:
    """A machine that was put away and taken out after every step makes the moves of one that was not."""
    steps = [outcomes(n % 11, 10 - n % 11) for n in (3, 10, 10, 0, 0, 0, 10, 10, 10, 9, 2, 0)]
    kept, revived = curriculum(), curriculum()
    for iteration, each in enumerate(steps):
        for machine in (kept, revived):
            machine.take(machine.plan(4, iteration, seed=0), {machine.at: each})
            machine.evaluated({machine.at: sum(each) / 10})
        revived = curriculum(json.loads(json.dumps(revived.as_json())))
    assert kept.as_json() == revived.as_json()
    assert kept.state.moves >= 3


def test_forgetting_is_the_best_so_far_minus_now() -> None:
    machine = curriculum()
    assert machine.evaluated({"a": 0.6}) == {
        "stage/a/val_success": 0.6,
        "stage/a/forgetting": 0.0,
        "curriculum/forgetting": 0.0,
    }
    found = machine.evaluated({"a": 0.9, "b": 0.5})
    assert found["curriculum/forgetting"] == 0.0
    found = machine.evaluated({"a": 0.7, "b": 0.25})
    assert found["stage/a/forgetting"] == pytest.approx(0.2)
    assert found["stage/b/forgetting"] == pytest.approx(0.25)
    assert found["curriculum/forgetting"] == pytest.approx(0.25)
    assert machine.describe({"a": 0.7, "b": 0.5}) == (
        "training at a; validation success: a 0.70 (forgot 0.20), b 0.50"
    )


def test_metrics_count_stages_from_one() -> None:
    machine = curriculum({"stage": 1, "reached": 2, "outcomes": outcomes(8, 2), "moves": 3})
    assert machine.metrics() == {
        "curriculum/stage": 2,
        "curriculum/reached": 3,
        "curriculum/success": 0.8,
        "curriculum/success_low": pytest.approx(0.490, abs=5e-4),
        "curriculum/moves": 3,
    }


def test_wilson_by_hand() -> None:
    # n = 10, p = 0.8, z^2 = 3.8415: (0.8 + 0.19207 -+ 1.95996 sqrt(0.016 + 0.0096)) / 1.38415
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(20, 20)[0] == pytest.approx(1 - 0.1611, abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
