"""vLLM itself as the sampler, in this process (make test-vllm): its log-probs beside the learner's.

It is started once, and given the weights of each test's agent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch

pytest.importorskip("vllm", reason="needs vLLM: make test-vllm")

from tests.support.shop5_parts import Parts, build
from webshop_rl.models.agent import Agent
from webshop_rl.rollout.engines.vllm_sampler import VllmSampler
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.learner import Importance

# The kernels of vLLM on a CPU have heads of 32 and more.
SERVED = ("model.hidden_size=64", "model.num_layers=2", "model.num_heads=2", "env.max_steps=4")
CLOSE = 1e-4  # nats, of a decision: what float32 leaves between two orders of summing


@pytest.fixture(scope="module", autouse=True)
def _in_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        # The CPU worker takes the right to set threads away from its process, which here is this one.
        patch.setattr(torch, "set_num_threads", torch.set_num_threads)
        yield


@pytest.fixture(scope="module")
def sampler() -> Iterator[VllmSampler]:
    made = VllmSampler(16)
    yield made
    made.close()


def parts_of(*overrides: str, agent: Agent | None = None) -> Parts:
    return build(*overrides, small=SERVED, agent=agent, sharpen=3.0)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return parts_of()


def collect(
    parts: Parts, sampler: VllmSampler, number: int = 8, temperature: float = 1.0
) -> list[Trajectory]:
    collector = parts.acting.collector(parts.agent, parts.shop, sampler)
    return collector.collect(parts.specs(number), temperature=temperature)


def gap(parts: Parts, trajectories: Sequence[Trajectory]) -> dict[str, float]:
    learner = parts.learner(importance=Importance(2.0))
    return {k: v for k, v in next(learner.learn(trajectories, None, 0)).metrics.items() if "sampler/" in k}


def test_its_log_probs_are_the_learners_under_the_grammars_masks(sampler: VllmSampler) -> None:
    parts = parts_of("algo=grpo")
    trajectories = collect(parts, sampler)
    found = gap(parts, trajectories)
    assert 0 < found["sampler/gap_max"] < CLOSE
    assert found["sampler/truncated_frac"] == 0
    assert all(turn.valid for t in trajectories for turn in t.turns)
    assert len({turn.action for t in trajectories for turn in t.turns}) > 8
    for segment in (segment for t in trajectories for segment in t.segments):
        for at, mask in segment.masks.items():
            assert mask.admits(segment.tokens[at])
            assert segment.decision[at] == (mask.forced is None)
    # The weights have changed: what it has cached of the former must not be used.
    again = collect(parts, sampler)
    assert [t.segments[0].tokens for t in again] != [t.segments[0].tokens for t in trajectories]
    assert gap(parts, again)["sampler/gap_max"] < CLOSE


def test_free_replies_and_thoughts_have_the_learners_log_probs_too(sampler: VllmSampler) -> None:
    first = parts_of("algo=grpo", "rollout.decoding=free", "rollout.max_reply_tokens=6", "model.init_seed=1")
    free = collect(first, sampler)
    assert gap(first, free)["sampler/gap_max"] < CLOSE
    assert sum(t.num_replies_cut for t in free) > 0
    special = set(first.agent.codec.special)
    assert not any(
        token in special
        for t in free
        for s in t.segments
        for token, is_action in zip(s.tokens, s.action, strict=True)
        if is_action
    )
    thinks = parts_of("algo=grpo", "rollout.think=true", "rollout.max_think_tokens=5", "model.init_seed=2")
    thoughts = collect(thinks, sampler)
    assert gap(thinks, thoughts)["sampler/gap_max"] < CLOSE
    assert all(turn.valid for t in thoughts for turn in t.turns)


def test_greedy_is_what_the_network_itself_says(parts: Parts, sampler: VllmSampler) -> None:
    native = parts.collector.collect(parts.specs(8), temperature=0.0)
    assert [t.turns for t in collect(parts, sampler, temperature=0.0)] == [t.turns for t in native]


def test_the_same_seeds_sample_the_same_whatever_is_in_the_batch(parts: Parts, sampler: VllmSampler) -> None:
    few = collect(parts, sampler, 3)
    assert [t.turns for t in collect(parts, sampler, 8)[:3]] == [t.turns for t in few]


def test_frequencies_are_those_of_the_policy(parts: Parts, sampler: VllmSampler) -> None:
    """First decisions of one goal's many episodes, against the exact probabilities (chi-square at 1e-3)."""
    from scipy.stats import chisquare

    from tests.support.plain_network import plain_logits
    from webshop_rl.models.network import decision_logprobs
    from webshop_rl.rollout.episode import EpisodeSpec, episode_seed

    goal = parts.shop.goals("train")[0]
    specs = [EpisodeSpec(goal, i, episode_seed("frequency", i)) for i in range(300)]
    one_turn = replace(parts.acting.rollout, batch_size=16)
    collector = replace(parts.acting, rollout=one_turn).collector(parts.agent, parts.shop, sampler)
    played = collector.collect(specs, temperature=0.7)
    segment = played[0].segments[0]
    at = segment.decision.index(True)
    assert all(t.segments[0].tokens[:at] == segment.tokens[:at] for t in played)
    logits = plain_logits(parts.agent.network, segment.tokens[:at])[-1:].float()
    p = decision_logprobs(logits, [segment.masks[at]], 0.7)[0].double().exp()
    ids = [int(i) for i in segment.masks[at].ids]
    counts = [sum(t.segments[0].tokens[at] == i for t in played) for i in ids]
    assert sum(counts) == len(played)
    expected = p[ids] / p[ids].sum() * len(played)
    assert chisquare(counts, expected.numpy()).pvalue > 1e-3
