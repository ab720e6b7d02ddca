"""Replies that are sampled elsewhere: the same masks there, and nothing else in the episode's record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.engine import PlainEngine
from tests.support.learner_steps import step
from tests.support.shop5_parts import build
from webshop_rl.interface.masks import TokenMask
from webshop_rl.interface.reply import Ahead
from webshop_rl.rollout.engines.masks import push_reply
from webshop_rl.rollout.episode import Episode
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.learner import Importance

CASES = {
    "admissible": (),
    "windows of words": ("rollout.queries=window", "rollout.max_query_words=2"),
    "free": ("rollout.decoding=free", "rollout.max_reply_tokens=6"),
    "thinking": ("rollout.think=true", "rollout.max_think_tokens=5"),
    "thinking, free": ("rollout.think=true", "rollout.decoding=free", "rollout.max_reply_tokens=6"),
    "a turn a segment": ("rollout.history=window:2",),
}


def played(case: str, number: int = 4) -> tuple[Episode, list[Trajectory], dict[str, float]]:
    parts = build("algo=rloo", *CASES[case], sharpen=3.0)
    collector = parts.acting.collector(parts.agent, parts.shop, PlainEngine())
    trajectories = collector.collect(parts.specs(number), temperature=1.0)
    learner = parts.learner(importance=Importance(2.0))
    metrics = next(learner.learn(trajectories, None, 0)).metrics
    return collector.begin(parts.specs(1)[0]), trajectories, metrics


@pytest.mark.parametrize("case", CASES)
def test_what_an_engine_says_is_recorded_as_what_the_network_says(case: str) -> None:
    _, trajectories, metrics = played(case)
    assert metrics["sampler/gap_max"] < 1e-4
    for segment in (segment for t in trajectories for segment in t.segments):
        for at, mask in segment.masks.items():
            assert mask.admits(segment.tokens[at])
            assert segment.decision[at] == (mask.forced is None)
            assert segment.decision[at] or segment.logprobs[at] == 0
    if "free" not in case:
        assert all(turn.valid for t in trajectories for turn in t.turns)


def test_a_token_that_the_mask_does_not_admit_is_an_error() -> None:
    episode, _, _ = played("admissible", 1)
    mask = episode.mask()
    assert isinstance(mask, TokenMask)
    banned = next(token for token in range(10**4) if not mask.admits(token))
    with pytest.raises(ValueError, match="does not admit"):
        push_reply(episode, episode.ahead(), [banned], [-1.0])


class Forcing:
    """An episode in which each token that is sampled has a forced 7 after it."""

    def __init__(self) -> None:
        self.said: list[int] = []
        self.trajectory = SimpleNamespace(turns=[], segments=[SimpleNamespace(tokens=self.said)])

    def mask(self) -> None:
        return None

    def ahead(self) -> Ahead:
        return Ahead(9)

    def push(self, token: int, logprob: float, mask: TokenMask | None) -> None:
        self.said += [token, 7]


def test_forced_tokens_are_compared_and_are_no_decisions() -> None:
    forcing: Any = Forcing()
    assert push_reply(forcing, Ahead(9), [3, 7, 4, 7], [-1.0, 0.0, -1.0, 0.0]) == 2
    assert forcing.said == [3, 7, 4, 7]
    with pytest.raises(ValueError, match="8 where 7 is forced"):
        push_reply(forcing, Ahead(9), [3, 8], [-1.0, 0.0])


def test_a_thought_that_ends_early_is_the_last_that_is_used() -> None:
    parts = build("rollout.think=true", "rollout.max_think_tokens=20")
    episode = parts.collector.begin(parts.specs(1)[0])
    close = parts.agent.codec.encode("</think>")
    ahead = episode.ahead()
    word = next(i for i in range(5, 10**4) if episode.mask().admits(i) and i not in close)  # type: ignore[union-attr]
    before = len(episode.transcript)
    assert push_reply(episode, ahead, [word, *close, word, word], [-1.0] * (len(close) + 3)) == 1 + len(close)
    assert list(episode.transcript[before : before + 1 + len(close)]) == [word, *close]
    assert episode.transcript[-1] != word
    assert episode.ahead().grammar is not None


def test_a_skewed_engine_is_weighed() -> None:
    """It tells half of each probability, so each decision weighs 2: RLOO's gradient is twice as large."""
    parts = build("algo=rloo", sharpen=3.0)
    straight, skewed = (
        parts.acting.collector(parts.agent, parts.shop, PlainEngine(skew)).collect(
            parts.specs(6), temperature=1.0
        )
        for skew in (0.0, 0.6931472)
    )
    assert [t.turns for t in straight] == [t.turns for t in skewed]
    _, plain = step(parts, straight)
    for cap, factor, truncated in ((3.0, 2.0, 0.0), (1.5, 1.5, 1.0), (None, 1.0, 0.0)):
        metrics, gradients = step(parts, skewed, importance=Importance(cap))
        assert metrics["sampler/gap_mean"] == pytest.approx(0.693, abs=1e-3)
        assert metrics["sampler/truncated_frac"] == truncated
        for name, gradient in plain.items():
            assert gradients[name].sub(gradient * factor).abs().max() < 1e-4 * gradient.abs().max() + 1e-7
