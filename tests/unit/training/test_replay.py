"""The best trajectory of each goal: played back as it was, joining groups that do worse, resuming exactly."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.support.shop5_parts import Parts, build, composed
from tests.support.training_attempts import Attempt, metric, resumed_after_dying_anywhere
from tests.support.training_stand_ins import Crashes, Killed, StandInCollector
from webshop_rl.config.schema import CollectionConfig
from webshop_rl.envs.types import Goal
from webshop_rl.errors import UserError
from webshop_rl.preemption import Preempted
from webshop_rl.rollout.types import Segment, Trajectory, Turn
from webshop_rl.training.collection import group_specs, renamed_prompter
from webshop_rl.training.replay import Kept, Replay
from webshop_rl.training.sampling import Collection

GOALS = [Goal(f"g{i}", f"a{i}", "") for i in range(3)]


def played(goal: int, *returns: float, sample: int = 0) -> list[Trajectory]:
    return [Trajectory(GOALS[goal], sample, 0, turns=[Turn("", "", "", r, True)]) for r in returns]


def segments_of(trajectory: Trajectory) -> list[Any]:
    return [
        (
            {name: value for name, value in vars(segment).items() if name != "masks"},
            {at: (mask.ids.tolist(), mask.complement) for at, mask in segment.masks.items() if mask},
        )
        for segment in trajectory.segments
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        ("env.distractors=2", "rollout.rename=1", "model.pointer=true"),
        (
            "rollout.decoding=free", "rollout.max_reply_tokens=12", "rollout.think=true",
            "rollout.max_think_tokens=4",
        ),
        ("rollout.history=window:1", "rollout.queries=window", "view=compact", "rollout.invalid_penalty=0.1"),
    ],
    ids=["renamed", "free, thinking", "window, compact"],
)  # fmt: skip
def test_it_is_played_back_as_it_was(overrides: tuple[str, ...]) -> None:
    parts = build(*overrides, sharpen=1.0)
    iteration, cfg = 3, parts.cfg
    prompter = renamed_prompter(parts.collector.prompter, cfg.rollout.rename, iteration, cfg.seed)
    specs = group_specs(parts.shop.goals("train"), 3, iteration, cfg.seed)
    originals = parts.collector.collect(specs, temperature=1.0, prompter=prompter)
    for original in originals:
        # As a checkpoint has it.
        kept = Kept(**json.loads(json.dumps(vars(Kept.of(original, iteration)))))
        replay = Replay(parts.collector, cfg)
        replay.restore({original.goal.id: vars(kept)})
        worse = Trajectory(original.goal, 0, 0, turns=[Turn("", "", "", -9.0, False)])
        (again,) = replay.better([worse])
        assert again.replayed
        assert segments_of(again) == segments_of(original)
        for name in ("goal", "sample", "seed", "turns", "score", "end", "bought", "num_replies_cut"):
            assert getattr(again, name) == getattr(original, name)


class Notes:
    """In the place of a collector: what is played back is what was asked for."""

    prompter = SimpleNamespace(codec=None)

    def play_back(self, spec: Any, decisions: Any, *, prompter: Any) -> Trajectory:
        (own,) = played(int(spec.goal.id[1]), 1.0, sample=spec.sample)
        return own


def replay() -> Replay:
    return Replay(Notes(), build().cfg)  # type: ignore[arg-type]


def test_the_best_of_a_goal_joins_a_group_that_does_worse_and_no_other() -> None:
    best = replay()
    assert best.better(played(0, 0.0)) == []
    best.note([*played(0, 0.2), *played(0, 1.0, sample=4), *played(1, 0.0)], 0)
    (joined,) = best.better([*played(0, 0.2, 0.9), *played(1, -0.1, 0.0), *played(2, 0.0)])
    assert (joined.goal.id, joined.sample) == ("g0", 4)
    assert best.better(played(0, 0.9, 1.0)) == []
    assert best.better(played(0, 2.0)) == []
    assert best.better(played(0, 1.0 - 1e-9)) == []  # rounding is no difference
    # A worse one changes nothing; of equals the latest is kept.
    best.note(played(0, 0.9, sample=5), 1)
    assert best.state()["g0"]["sample"] == 4
    best.note(played(0, 1.0, sample=6), 2)
    assert (best.state()["g0"]["sample"], best.state()["g0"]["iteration"]) == (6, 2)


def test_a_shop_that_answers_otherwise_is_found() -> None:
    best = replay()
    best.note(played(0, 0.8), 0)  # plays back with a return of 1
    with pytest.raises(UserError, match=r"an episode of g0 returned 0\.8, and 1 now"):
        best.better(played(0, 0.0))


def test_a_group_that_one_joins_is_not_equal_and_counts_what_was_played() -> None:
    collection = Collection(drops_equal=True, replays=True)
    collection.add(GOALS[:2], [], [*played(0, 0.0, 0.0), *played(1, 0.0, 0.0)])
    assert (collection.kept, collection.num_dropped) == ([], 4)
    joining = played(0, 1.0)
    collection.join(joining)
    assert [t.goal.id for t in collection.kept] == ["g0", "g0", "g0"]
    assert [goal.id for goal in collection.kept_goals] == ["g0"]
    assert collection.num_dropped == 2
    assert len(collection.trajectories) == 4
    assert collection.metrics() == {
        "train/goals_played": 2,
        "train/goals_dropped": 1,
        "train/episodes_replayed": 1,
    }


def test_the_learner_asks_the_policy_of_now_about_it() -> None:
    parts: Parts = build("algo=grpo", sharpen=1.0)
    trajectories = parts.collect(10)
    with torch.no_grad():
        for parameter in parts.agent.network.parameters():
            parameter.mul_(1.5)
    shortest = min(range(10), key=lambda row: trajectories[row].num_action_tokens)
    trajectories[shortest].replayed = True
    learner = parts.learner()
    batch = learner._prepare(trajectories, None)
    now, _, _ = learner._score(parts.agent.network, trajectories)
    assert batch.policy_logprobs is not None
    assert batch.replayed is not None
    torch.testing.assert_close(batch.policy_logprobs[shortest], now[shortest])
    assert not torch.allclose(now[shortest], batch.behaviour_logprobs[shortest], atol=1e-2)
    own = ~batch.replayed
    assert torch.equal(batch.policy_logprobs[own], batch.behaviour_logprobs[own])
    list(learner.learn(trajectories, None, 0))


class Remembering(StandInCollector):
    """Episodes whose one decision says what they returned, so that they can be played back."""

    def collect(self, specs: Any, **rest: Any) -> list[Trajectory]:
        made = super().collect(specs, **rest)
        for t in made:
            decided = [False, True, False]
            logprobs = [0.0, t.episode_return, 0.0]
            t.segments = [Segment([1, 2, 3], [False, True, True], decided, logprobs, [-1, 0, 0])]
        return made

    def play_back(self, spec: Any, decisions: Any, *, prompter: Any) -> Trajectory:
        ((_, value),) = decisions
        turn = Turn("", spec.goal.id, "", value, True)
        segment = Segment([1, 2], [False, True], [False, True], [0.0, value], [-1, 0])
        return Trajectory(spec.goal, spec.sample, spec.seed, [segment], [turn], replayed=True)


class Replaying(Attempt):
    """An attempt that replays; its policy succeeds at times from the start."""

    def __init__(self, folder: Path, crashes: Crashes | None = None, **rest: Any) -> None:
        rules = CollectionConfig(equal_groups="keep", max_rounds=1, replay_best=True)
        super().__init__(folder, crashes, collection=rules, **rest)
        self.collector.__class__ = Remembering
        self.collector._network.weight.data.fill_(0.3)


@pytest.mark.parametrize("kind", [Killed, Preempted])
def test_resuming_is_exact(tmp_path: Path, kind: type[BaseException]) -> None:
    options: dict[str, Any] = {"path": [-0.02] * 40, "num_updates": 7, "every": 2}
    points = resumed_after_dying_anywhere(tmp_path, kind, attempt=Replaying, **options)
    assert sum(1 for _ in points) >= 5
    assert sum(metric(tmp_path / "calm", "train/episodes_replayed")) > 2
    # What is replayed is not played: two goals of three episodes an update.
    assert metric(tmp_path / "calm", "train/episodes") == [6 * k for k in range(1, 8)]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algo=ppo"], "a critic would take"),
        (["algo=bc"], "no reward is read"),
        (["rollout.top_p=0.9"], "an earlier policy's nucleus"),
        (["control=permuted_rewards"], "the control takes away"),
    ],
)
def test_settings_that_do_not_fit_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        composed("collection.replay_best=true", *overrides)
    composed(*overrides)


@pytest.mark.parametrize("algo", ["apo_pg", "apo_reg", "apo_sft", "apo_square", "grpo", "gigpo", "rloo"])
def test_every_other_method_takes_a_step_with_one(algo: str) -> None:
    parts = build(f"algo={algo}", "collection.replay_best=true", sharpen=1.0)
    trajectories = parts.collect(10)
    trajectories[0].replayed = True
    trajectories[0].turns[-1].reward = 1.0
    vstar = [0.1] * 10 if parts.algorithm.needs_vstar else None
    (result,) = parts.learner().learn(trajectories, vstar, 0)
    assert result.metrics["optim/skipped_steps"] == 0
    assert result.metrics["optim/grad_norm"] > 0
