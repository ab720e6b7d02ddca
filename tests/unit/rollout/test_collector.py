"""Batched collection: what it costs, and that it can be abandoned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.shop5_parts import Parts, build
from webshop_rl.envs.types import EndReason
from webshop_rl.models.row_cache import RowCache
from webshop_rl.preemption import Preempted
from webshop_rl.rollout.episode import EpisodeSpec


@pytest.fixture(scope="module")
def parts() -> Parts:
    return build("env.max_steps=6")


class Feeds:
    """What the network is given to read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        self.tokens = 0
        plain = RowCache.feed

        def feed(cache: RowCache, pieces: list[list[int]], pad: int) -> Any:
            self.rows.append(len(pieces))
            self.tokens += sum(len(piece) for piece in pieces)
            return plain(cache, pieces, pad)

        monkeypatch.setattr(RowCache, "feed", feed)


def test_every_token_is_read_once_and_none_of_a_finished_episode(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds = Feeds(monkeypatch)
    before = parts.collector.num_decisions
    trajectories = parts.collect(8)
    length = sum(len(segment.tokens) for t in trajectories for segment in t.segments)
    assert 0 < feeds.tokens <= length
    decisions = sum(
        is_action and segment.masks[i].forced is None
        for t in trajectories
        for segment in t.segments
        for i, is_action in enumerate(segment.action)
    )
    assert parts.collector.num_decisions - before == decisions
    assert feeds.rows[-1] < feeds.rows[0] or len({len(t.turns) for t in trajectories}) == 1
    # One pass serves all that have a decision to make.
    assert len(feeds.rows) < decisions


def test_batches_are_no_larger_than_rollout_batch_size(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = Feeds(monkeypatch)
    acting = replace(parts.acting, rollout=replace(parts.acting.rollout, batch_size=3))
    small = acting.collector(parts.agent, parts.shop)
    assert len(small.collect(parts.specs(7), temperature=1.0)) == 7
    assert max(feeds.rows) <= 3


def test_greedy_is_the_same_for_every_seed_where_the_shop_is(parts: Parts) -> None:
    goal = parts.shop.goals("train")[0]
    specs = [EpisodeSpec(goal, 0, seed) for seed in range(3)]
    plays = parts.collector.collect(specs, temperature=0.0)
    # Searches of a single word find one product, so nothing is shuffled.
    assert [t.turns[0].action for t in plays] == [plays[0].turns[0].action] * 3
    sampled = parts.collector.collect(specs, temperature=1.0)
    assert len({tuple(turn.action for turn in t.turns) for t in sampled}) > 1


def test_a_replayed_seed_gives_the_same_episode(parts: Parts) -> None:
    (spec,) = parts.specs(1, seed=9)
    others = parts.specs(5, seed=10)
    alone = parts.collector.collect([spec], temperature=1.0)[0]
    beside = parts.collector.collect([*others, spec], temperature=1.0)[-1]
    assert alone.turns == beside.turns
    assert alone.segments[0].tokens == beside.segments[0].tokens


def test_training_mode_comes_back(parts: Parts) -> None:
    parts.agent.network.train()
    parts.collect(1)
    assert parts.agent.network.training
    parts.agent.network.eval()
    parts.collect(1)
    assert not parts.agent.network.training


def test_asked_to_stop_it_stops_between_decisions(parts: Parts) -> None:
    calls = []

    def interrupted() -> None:
        calls.append(1)
        if len(calls) == 4:
            raise Preempted("now")

    collector = parts.acting.collector(parts.agent, parts.shop, interrupted=interrupted)
    with pytest.raises(Preempted):
        collector.collect(parts.specs(4), temperature=1.0)
    assert len(calls) == 4


def test_nothing_to_do_is_done_at_once(parts: Parts) -> None:
    assert parts.collector.collect([], temperature=1.0) == []


def test_invalid_text_changes_nothing_and_costs_the_penalty() -> None:
    parts = build("rollout.decoding=free", "rollout.max_reply_tokens=3", "rollout.invalid_penalty=0.25")
    trajectories = parts.collect(6)
    for trajectory in trajectories:
        assert trajectory.end == EndReason.MAX_STEPS
        for turn, following in zip(trajectory.turns, trajectory.turns[1:], strict=False):
            if not turn.valid:
                assert turn.reward == -0.25
                # Only the first page of a transcript holds the instruction.
                assert following.page == turn.page.rpartition("[SEP] ")[2]
    invalid = [turn for t in trajectories for turn in t.turns if not turn.valid]
    assert len(invalid) > 10
    assert all(turn.action == "" for turn in invalid)
    assert sum(t.num_replies_cut for t in trajectories) > 0


def test_replies_that_were_cut_are_closed_for_the_model() -> None:
    parts = build("rollout.decoding=free", "rollout.max_reply_tokens=3")
    trajectory = parts.collect(1)[0]
    (segment,), end = trajectory.segments, parts.agent.codec.end
    for i in range(1, len(segment.tokens)):
        if segment.action[i - 1] and not segment.action[i]:
            closed_by_policy = segment.tokens[i - 1] == end
            assert (segment.tokens[i] == end) != closed_by_policy
