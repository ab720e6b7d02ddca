"""Transcripts with the same tokens share a row of the cache, and part without a trace."""

from __future__ import annotations

import torch

from tests.support.shop5_parts import build
from webshop_rl.models.row_cache import RowCache
from webshop_rl.rollout.shared_cache import SharedCache


def test_rows_are_shared_until_transcripts_part_and_hold_what_each_has_read() -> None:
    agent = build().agent
    cache = SharedCache(agent.network, 4)
    transcripts: list[list[int]] = [[], [], [], []]
    # 0, 1 and 3 begin alike; 3 leaves them at the second feed, 1 waits at the third (and so leaves 0);
    # at the fourth 1 catches up, but rows that have parted stay apart.
    steps = [
        ([[9, 10, 11], [9, 10, 11], [12], [9, 10, 11]], 2),
        ([[13], [13], [13, 14], [15]], 3),
        ([[16, 17], [], [16], [16]], 4),
        ([[18], [16, 17], [18], [18]], 4),
    ]
    for pieces, rows in steps:
        hidden = cache.feed(pieces, agent.codec.pad)
        transcripts = [[*t, *piece] for t, piece in zip(transcripts, pieces, strict=True)]
        assert cache.num_rows == rows
        assert hidden.shape[0] == rows
        for i, piece in enumerate(pieces):
            if piece:
                torch.testing.assert_close(hidden[cache.row(i)], whole(agent, transcripts[i]))


def test_kept_and_forgotten_transcripts() -> None:
    agent = build().agent
    cache = SharedCache(agent.network, 4)
    cache.feed([[9, 10], [9, 10], [11], [12]], agent.codec.pad)
    cache.keep([3, 1, 0])
    cache.forget(2)  # that is the old 0, which shared its row with the old 1
    hidden = cache.feed([[13], [14], [15]], agent.codec.pad)
    assert cache.num_rows == 3
    for i, tokens in enumerate(([12, 13], [9, 10, 14], [15])):
        torch.testing.assert_close(hidden[cache.row(i)], whole(agent, tokens))


def test_greedy_episodes_of_one_goal_are_read_once(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    # Without shuffling, the greedy episodes of a goal are the same to the end: 40 of them use 5 rows.
    parts = build("env.shuffle_results=false")
    fed: list[int] = []
    plain = RowCache.feed

    def feed(cache, pieces, pad):  # type: ignore[no-untyped-def]
        fed.append(len(pieces))
        return plain(cache, pieces, pad)

    monkeypatch.setattr(RowCache, "feed", feed)
    played = parts.collector.collect(parts.specs(40), temperature=0)
    assert max(fed) == 5
    alone = [parts.collector.collect([spec], temperature=0)[0] for spec in parts.specs(5)]
    for i, trajectory in enumerate(played):
        assert [s.tokens for s in trajectory.segments] == [s.tokens for s in alone[i % 5].segments]


def whole(agent, tokens: list[int]) -> torch.Tensor:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        states = agent.network.hidden(input_ids=torch.tensor([tokens]), use_cache=False)
    return states.last_hidden_state[0, -1]
