"""Recorded episodes to be cloned: played again as they were, rejected if they do not fit, drawn by goal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.shop5_parts import SMALL, Parts, build, composed, curve, run_here
from webshop_rl.envs.demonstrators import scripted_act
from webshop_rl.errors import UserError
from webshop_rl.evaluation.policies import scripted_policy
from webshop_rl.evaluation.records import write_records
from webshop_rl.launching.compose import freeze
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.guided import GuidedCollector
from webshop_rl.rollout.recorded import RecordedCollector, recorded_collector
from webshop_rl.rollout.types import Trajectory

WHOLE = ("rollout.queries=window", "rollout.max_query_words=null")  # scripted policies search the instruction
RECORDS = ("algo=bc", "algo.demonstrations=records", "algo.student_share=0")


@pytest.fixture(scope="module")
def parts() -> Parts:
    return build("env.distractors=1", "env.max_steps=6", *WHOLE)


def read(path: Path, parts: Parts, min_score: float = 0.0) -> RecordedCollector:
    return recorded_collector(path, parts.shop.goals("train"), parts.collector, min_score=min_score)


def same(found: Trajectory, original: Trajectory) -> bool:
    pairs = zip(found.segments, original.segments, strict=True)
    return found.turns == original.turns and all(
        getattr(a, name) == getattr(b, name)
        for a, b in pairs
        for name in ("tokens", "action", "decision", "turns")
    )


def test_what_a_policy_played_is_learnt_as_it_was(parts: Parts, tmp_path: Path) -> None:
    played = parts.collect(20)
    write_records(tmp_path / "played.jsonl", played)
    found = read(tmp_path / "played.jsonl", parts)
    assert found.rejected == []
    for goal in parts.shop.goals("train"):
        originals = [t for t in played if t.goal.id == goal.id]
        assert all(same(a, b) for a, b in zip(found.episodes[goal.id], originals, strict=True))
        # Which one is drawn follows from the seed of the spec, and all of them are.
        specs = [EpisodeSpec(goal, i, seed) for i, seed in enumerate(range(100, 104))]
        drawn = found.collect(specs, student_share=0.0, temperature=1.0)
        assert [t.sample for t in drawn] == [0, 1, 2, 3]
        assert [t.seed for t in drawn] == [100, 101, 102, 103]
        assert {tuple(t.segments[0].tokens) for t in drawn} == {
            tuple(t.segments[0].tokens) for t in originals
        }


def test_what_a_scripted_policy_played_is_learnt_as_it_would_be_said(parts: Parts, tmp_path: Path) -> None:
    """Its record has the pages as the shop prints them; as a teacher the policy shows the same."""
    specs = parts.specs(5)
    write_records(tmp_path / "first.jsonl", scripted_policy("first", parts.shop).play(specs))
    found = read(tmp_path / "first.jsonl", parts)
    guided = GuidedCollector(parts.collector, scripted_act("first"))
    for spec in specs:
        assert same(found.episodes[spec.goal.id][0], guided.demonstrate(spec))
    worth = GuidedCollector(parts.collector, scripted_act("first"), min_score=1.0)
    taught = worth.collect(specs, student_share=0.0, temperature=1.0)
    scores = [t.score for t in taught]
    assert {0.0, 1.0} == set(scores)
    assert [bool(t.segments) for t in taught] == [score == 1 for score in scores]
    best = read(tmp_path / "first.jsonl", parts, min_score=1.0)
    assert sum(map(len, best.episodes.values())) == scores.count(1.0)


def _change(turn: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["turns"][turn].update(values)


def _set(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.update(values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_change(1, page="Back to Search [SEP] Results: 9"), "turn 2: the shop shows another page now"),
        (_set(seed=9), "turn 2: the shop shows another page now"),  # the results in another order
        (_set(goal="shop5/77"), "shop5/77 is not a training goal"),
        (_set(instruction="i want a boat"), "shop5/1 asks for something else now"),
        (
            _change(0, action="search[boat]"),
            "turn 1: no reply in this page's grammar asks for 'search[boat]'",
        ),
        (_change(1, action=""), "turn 2: no reply in this page's grammar asks for ''"),
        (_set(score=0.5), "scores 1 now, not 0.5"),
        (_set(turns=[]), "contains no turn that fits the context"),
        (lambda record: record.pop("seed"), "lacks 'seed'"),
        (_set(turns=3), "is not a line of JSON of an episode"),
    ],
)
def test_a_record_that_does_not_fit_is_rejected_with_file_record_and_reason(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    parts = build("env.distractors=4", *WHOLE)
    goal = parts.shop.goals("train")[0]
    path = tmp_path / "records.jsonl"
    specs = [EpisodeSpec(goal, 0, seed) for seed in range(40)]
    played = scripted_policy("first", parts.shop).play(specs)
    good, *_ = write_records(path, [t for t in played if t.success])
    bad = json.loads(json.dumps(good))
    change(bad)
    path.write_text(json.dumps(good) + "\n" + json.dumps(bad) + "\n{no json\n")
    found = read(path, parts)
    assert [len(own) for own in found.episodes.values()] == [1]
    first, second = found.rejected
    assert first.startswith(f"{path}, record 2: {reason}")
    assert second == f"{path}, record 3: is not a line of JSON of an episode"
    path.write_text(json.dumps(bad) + "\n")
    with pytest.raises(UserError, match=re.escape(f"{path}, record 1: {reason}")):
        read(path, parts)


def test_a_run_learns_from_records_alone_and_is_named_by_their_content(tmp_path: Path) -> None:
    quick = (*SMALL, "evaluation.test_episodes=5", "evaluation.val_episodes=5", "algo.goals_per_update=4")
    parts = build("env.distractors=0")
    path = tmp_path / "first.jsonl"
    goals = parts.shop.goals("train")[:2]  # records of two goals of five: the others are not asked for
    write_records(path, scripted_policy("first", parts.shop).play([EpisodeSpec(g, 0, 1) for g in goals]))
    wanted = (*quick, *RECORDS, "num_updates=6", f"root={tmp_path}")
    _, folder = run_here(tmp_path, "cloned", *wanted, f"algo.records={path}")
    nll = curve(folder, "algo/nll")
    assert nll[6] < nll[1]
    assert set(curve(folder, "train/episode_turns").values()) == {3.0}
    copy = tmp_path / "copy.jsonl"
    shutil.copy(path, copy)
    names = [freeze(composed(*wanted, f"algo.records={place}")).signature for place in (path, copy)]
    copy.write_text(copy.read_text().replace("red", "tan"))
    names.append(freeze(composed(*wanted, f"algo.records={copy}")).signature)
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((*RECORDS, "algo.records=x.jsonl", "algo.student_share=0.5"), "no answer on pages that the policy"),
        (("algo.demonstrations=records", "algo.student_share=0"), "goes with algo.demonstrations=records"),
        (("algo.records=x.jsonl",), "goes with algo.demonstrations=records"),
        ((*RECORDS, "algo.records=no/such.jsonl"), "no such file: no/such.jsonl"),
    ],
)
def test_settings_that_do_not_fit_are_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        composed("algo=bc", *overrides)
