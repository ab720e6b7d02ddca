"""The learner's log-probs are the sampler's under every way of decoding; what else a record must hold."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.agreement import BEHAVIOUR_ATOL, assert_agreement
from tests.support.plain_network import plain_logits
from tests.support.shop5_parts import Parts, build
from webshop_rl.rollout.types import Segment, Trajectory

FREE = ("rollout.decoding=free", "rollout.max_reply_tokens=8", "rollout.invalid_penalty=0.1")
THINK = ("rollout.think=true", "rollout.max_think_tokens=6")
DROP = ("rollout.context_overflow=drop_oldest", "model.context_tokens=64", "env.max_steps=6")
WINDOW = ("rollout.history=window:2", "env.max_steps=6")
COPY = ("model.pointer=true", "model.smear=true")
WAYS = {
    "admissible": (),
    "admissible, T .7": ("rollout.temperature=0.7",),
    "admissible, top_p .9": ("rollout.top_p=0.9",),
    "admissible, think": THINK,
    "admissible, think, segments": (*THINK, *DROP, "rollout.max_reply_tokens=24"),
    "admissible, distractors": ("env.distractors=4", "rollout.max_query_words=3"),
    "admissible, compact pages": ("view=compact", "env.distractors=4"),
    "admissible, window": ("rollout.queries=window", "rollout.max_query_words=null", "env.distractors=4"),
    "free": FREE,
    "free, T .7": (*FREE, "rollout.temperature=0.7"),
    "free, T .7, top_p .9": (*FREE, "rollout.temperature=0.7", "rollout.top_p=0.9"),
    "free, think": (*FREE, *THINK, "rollout.list_actions=true"),
    "free, segments": (*FREE, *DROP),
    "free, segments, compact pages": (*FREE, *DROP, "view=compact"),
    "free, think, T .7, top_p .9, segments": (
        *FREE, *THINK, *DROP, "rollout.temperature=0.7", "rollout.top_p=0.9",
    ),
    "admissible, LoRA": ("model.lora.enabled=true",),
    "free, LoRA, T .7": (*FREE, "model.lora.enabled=true", "rollout.temperature=0.7"),
    "critic": ("algo=ppo", "algo.level=token"),
    "window": (*WINDOW, "env.distractors=4"),
    "window, critic": (*WINDOW, "algo=ppo", "algo.level=token"),
    "window, compact pages, pointer and smear": (*WINDOW, *COPY, "view=compact"),
    "window, free, think, critic": (*WINDOW, *FREE, *THINK, "algo=ppo"),
    "pointer and smear": (*COPY, "rollout.temperature=0.7"),
    "pointer, fan-in weights, top_p .9": ("model.pointer=true", "model.init=fan_in", "rollout.top_p=0.9"),
    "smear, critic": ("model.smear=true", "algo=ppo"),
    "pointer and smear, free, think, segments": (*COPY, *FREE, *THINK, *DROP),
    "pointer and smear, LoRA": (*COPY, "model.lora.enabled=true"),
}  # fmt: skip


@pytest.fixture(scope="module", params=WAYS)
def played(request: pytest.FixtureRequest) -> tuple[Parts, list[Trajectory]]:
    parts = build(*WAYS[request.param])
    return parts, parts.collect(7)


def recomputed(parts: Parts, segment: Segment) -> list[float]:
    """A second implementation: the whole model on one unpadded segment, softmax by hand."""
    logits = plain_logits(parts.agent.network, segment.tokens).numpy()
    found = []
    for position, token in enumerate(segment.tokens):
        if not segment.action[position]:
            continue
        scores = logits[position - 1] / parts.cfg.rollout.temperature
        mask = segment.masks.get(position)
        if mask is not None:
            allowed = np.zeros(len(scores), dtype=bool)
            allowed[mask.ids] = True
            scores = np.where(allowed ^ mask.complement, scores, -np.inf)
        scores = scores - scores.max()
        found.append(float(scores[token] - np.log(np.exp(scores).sum())))
    return found


def test_learner_agrees_with_the_sampler(played: tuple[Parts, list[Trajectory]]) -> None:
    parts, trajectories = played
    assert_agreement(parts, trajectories, 1, 10**6)


def test_sampler_agrees_with_a_second_implementation(played: tuple[Parts, list[Trajectory]]) -> None:
    parts, trajectories = played
    for segment in (segment for t in trajectories for segment in t.segments):
        recorded = [p for p, is_action in zip(segment.logprobs, segment.action, strict=True) if is_action]
        assert recorded == pytest.approx(recomputed(parts, segment), abs=BEHAVIOUR_ATOL)


def test_what_is_decoded_together_changes_nothing(played: tuple[Parts, list[Trajectory]]) -> None:
    parts, trajectories = played
    cfg = parts.cfg.rollout
    few = parts.acting.collector(parts.agent, parts.shop, keep_last_page=parts.algorithm.needs_critic)
    few._batch_size = 3
    again = few.collect(parts.specs(7), temperature=cfg.temperature, top_p=cfg.top_p)
    for a, b in zip(trajectories, again, strict=True):
        assert [s.tokens for s in a.segments] == [s.tokens for s in b.segments]
        assert a.turns == b.turns
        assert (a.score, a.end, a.num_replies_cut) == (b.score, b.end, b.num_replies_cut)
        for one, other in zip(a.segments, b.segments, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=BEHAVIOUR_ATOL)


def test_the_record_is_whole(played: tuple[Parts, list[Trajectory]]) -> None:
    """Parallel lists, one piece a turn, no segment beyond the context, no decision paid for twice."""
    parts, trajectories = played
    decisions = 0
    for trajectory in trajectories:
        turns: list[int] = []
        for segment in trajectory.segments:
            parallel = (
                segment.tokens, segment.action, segment.decision, segment.logprobs, segment.turns,
            )  # fmt: skip
            assert len({len(column) for column in parallel}) == 1
            assert len(segment.tokens) <= parts.cfg.model.context_tokens
            assert not segment.action[0]
            for i, is_action in enumerate(segment.action):
                assert (segment.turns[i] >= 0) == is_action
                assert is_action or (segment.logprobs[i] == 0 and i not in segment.masks)
                if is_action and not segment.action[i - 1]:
                    turns.append(segment.turns[i])
                assert is_action or not segment.decision[i]
                mask = segment.masks.get(i)
                if mask is None or mask.forced is None:
                    assert segment.decision[i] == is_action
                decisions += segment.decision[i]
        assert turns == list(range(len(trajectory.turns)))
        assert len(trajectory.turns) <= parts.shop.max_steps
    # A nucleus of one token is a decision, though its mask lets nothing else through.
    assert decisions == parts.collector.num_decisions
    tokens = sum(t.num_action_tokens for t in trajectories)
    if parts.cfg.rollout.decoding == "free" and not parts.cfg.rollout.think:
        assert decisions == tokens
    else:
        assert 0 < decisions < tokens
    segments = max(len(t.segments) for t in trajectories)
    windows = parts.cfg.rollout.past_turns is not None
    assert (segments > 1) == (windows or parts.cfg.rollout.context_overflow == "drop_oldest")


def test_a_window_gives_every_turn_a_segment_of_its_own(played: tuple[Parts, list[Trajectory]]) -> None:
    parts, trajectories = played
    if parts.cfg.rollout.past_turns is None:
        return
    for trajectory in trajectories:
        carried = [sorted({turn for turn in segment.turns if turn >= 0}) for segment in trajectory.segments]
        # Behind a truncation there may be the page that a critic goes on from.
        if parts.algorithm.needs_critic and not trajectory.terminated:
            assert carried.pop() == []
        assert carried == [[turn] for turn in range(len(trajectory.turns))]
