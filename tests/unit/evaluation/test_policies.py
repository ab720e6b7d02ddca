"""Policies of every kind through one interface, each played once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from webshop_rl.distributed.ranks import Ranks
from webshop_rl.envs.scripted import POLICIES
from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.envs.types import EndReason
from webshop_rl.evaluation.episodes import evaluation_specs
from webshop_rl.evaluation.evaluator import Evaluator
from webshop_rl.evaluation.policies import Policy, scripted_policies, scripted_policy
from webshop_rl.evaluation.records import episode_record
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Trajectory
from webshop_rl.tracking.names import BASELINES
from webshop_rl.tracking.tracker import Tracker


def test_scripted_policies_play_the_same_episodes() -> None:
    shop = Shop5()
    specs = evaluation_specs(shop.goals("test"), 7, seed=3)
    played = scripted_policy("first", shop).play(specs)
    assert [(t.goal, t.sample, t.seed) for t in played] == [(s.goal, s.sample, s.seed) for s in specs]
    assert all(t.success and t.episode_return == pytest.approx(1.6) and len(t.turns) == 3 for t in played)
    assert played[0].turns[0].page.endswith("Search")
    cut = scripted_policy("random", Shop5(max_steps=1)).play([EpisodeSpec(shop.goals("test")[0], 0, 1)])
    assert (cut[0].end, len(cut[0].turns)) == (EndReason.MAX_STEPS, 1)


def test_every_scripted_policy_has_metrics() -> None:
    names = [policy.name for policy in scripted_policies(Shop5())]
    assert sorted(names) == sorted(f"baseline/{name}" for name in BASELINES)
    assert set(POLICIES) == set(BASELINES)


class Record(Tracker):
    """Remembers what it is given."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.shown: list[tuple[str, str]] = []

    def metrics(self, step, values) -> None:
        self.values |= {f"{name}@{step}": value for name, value in values.items()}

    def artifact(self, path, folder="") -> None:
        self.shown.append((folder, path.name))

    def table(self, name, rows) -> None:
        self.shown.append(("tables", name))

    def traces(self, name, episodes) -> None:
        self.shown.append(("traces", name))


def test_a_policy_is_played_once_and_read_back_by_a_later_attempt(tmp_path: Path) -> None:
    shop, played = Shop5(), list[int]()
    rule = scripted_policy("rule", shop)

    def play(specs: Sequence[EpisodeSpec]) -> list[Trajectory]:
        played.append(len(specs))
        return rule.play(specs)

    specs = evaluation_specs(shop.goals("test"), 7, seed=3)
    found = []
    for _ in range(2):
        tracker = Record()
        evaluator = Evaluator(specs, tracker, tmp_path, Ranks())
        found.append(evaluator.evaluate(Policy("baseline/rule", "the rule", play), 12, traces=True))
        assert tracker.values["baseline/rule/success@12"] == 1.0
        name = "baseline_rule"
        assert tracker.shown == [("episodes", f"{name}.jsonl"), ("tables", name), ("traces", name)]
    assert played == [7]
    assert found[0] == found[1]
    assert (found[0].name, found[0].label, len(found[0].records)) == ("baseline/rule", "the rule", 7)


def test_what_was_played_before_training_is_recorded_after_it_and_not_played_again(tmp_path: Path) -> None:
    shop, tracker = Shop5(), Record()
    specs = evaluation_specs(shop.goals("test"), 3, seed=3)
    evaluator = Evaluator(specs, tracker, tmp_path, Ranks())
    policy = Policy("untrained", "untrained policy", scripted_policy("rule", shop).play)
    records = evaluator.play(policy)
    assert (tracker.values, tracker.shown) == ({}, [])
    # By then the network has other weights: though the file is gone, it is not played again.
    (tmp_path / "episodes" / "untrained.jsonl").unlink()
    trained = Policy("untrained", "untrained policy", scripted_policy("random", shop).play)
    assert evaluator.record(trained, records, 0).records == records
    assert tracker.values["untrained/success@0"] == 1.0


def test_a_rank_that_is_not_the_main_one_takes_its_records_and_writes_nothing(tmp_path: Path) -> None:
    shop, tracker = Shop5(), Record()
    rule, specs = scripted_policy("rule", shop), evaluation_specs(shop.goals("test"), 2, seed=3)
    of_main = [episode_record(trajectory) for trajectory in rule.play(specs)]

    class SecondRank(Ranks):
        rank = 1
        agreed = iter([None, of_main])  # nothing on record, then what the main one wrote

        def agree(self, value):
            return next(self.agreed)

    assert Evaluator(specs, tracker, tmp_path, SecondRank()).evaluate(rule, 0).records == of_main
    assert not list(tmp_path.iterdir())
    assert tracker.shown == []
