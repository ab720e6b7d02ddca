"""Sampler and learner side by side, for tests of contract 1: tokens in, tokens out."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.support.shop5_parts import Parts
from webshop_rl.rollout.packing import pack
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.batching import action_batch, batch_shape, micro_batches

BEHAVIOUR_ATOL = 1e-4


def learnt(parts: Parts, trajectories: list[Trajectory], max_padded_tokens: int) -> Tensor:
    """[B, T] log-probs as the learner takes them."""
    num_tokens, num_turns = batch_shape(trajectories)
    found = torch.zeros(len(trajectories), num_tokens)
    for part in micro_batches(trajectories, range(len(trajectories)), max_padded_tokens):
        packed = pack(
            [trajectories[i] for i in part],
            num_tokens=num_tokens,
            num_turns=num_turns,
            value_level=parts.algorithm.value_level,
            pad=parts.agent.codec.pad,
            device=parts.agent.network.device,
        )
        outputs = parts.agent.network(packed.inputs, parts.cfg.rollout.temperature)
        found[part] = packed.tokens(outputs.logprobs).detach()
    return found


def assert_agreement(parts: Parts, trajectories: list[Trajectory], *limits: int) -> None:
    """The learner's log-probs are those recorded, under each limit of padded tokens."""
    batch = action_batch(trajectories)
    for limit in limits:
        logprobs = learnt(parts, trajectories, limit)
        torch.testing.assert_close(logprobs, batch.behaviour_logprobs, rtol=0, atol=BEHAVIOUR_ATOL)
    chosen = batch.behaviour_logprobs[batch.mask]
    assert (chosen < -0.05).float().mean() > 0.05  # there was something to choose
