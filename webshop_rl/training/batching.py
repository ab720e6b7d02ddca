"""Trajectories to the batch an algorithm sees, and to micro-batches that fit in memory."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from webshop_rl.algos.algorithm import ActionBatch, Norm
from webshop_rl.envs.types import KINDS
from webshop_rl.rollout.packing import num_packed_tokens, num_padded_tokens
from webshop_rl.rollout.types import Trajectory


def batch_shape(trajectories: Sequence[Trajectory]) -> tuple[int, int]:
    """(T, K): most action tokens and most turns of any trajectory."""
    return max(t.num_action_tokens for t in trajectories), max(len(t.turns) for t in trajectories)


def group_numbers(trajectories: Sequence[Trajectory]) -> Tensor:
    """[B] a number per goal, in order of appearance."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(t.goal.id, len(numbers)) for t in trajectories])


def state_numbers(trajectories: Sequence[Trajectory]) -> Tensor:
    """[B, K] a number per goal and page that was replied to, in order of appearance; 0 at padding."""
    numbers: dict[tuple[str, Hashable], int] = {}
    found = torch.zeros(len(trajectories), batch_shape(trajectories)[1], dtype=torch.long)
    for b, trajectory in enumerate(trajectories):
        for k, turn in enumerate(trajectory.turns):
            found[b, k] = numbers.setdefault((trajectory.goal.id, turn.state), len(numbers))
    return found


def action_batch(
    trajectories: Sequence[Trajectory],
    *,
    vstar: Sequence[float] | None = None,
    ref_logprobs: Tensor | None = None,
    values: Tensor | None = None,
    last_value: Tensor | None = None,
) -> ActionBatch:
    """What the algorithm sees; all on the CPU.

    Args:
        trajectories: B, each with at least one turn.
        vstar: V* of each trajectory's goal.
        ref_logprobs: [B, T].
        values: [B, K] or [B, T], as the algorithm's value_level asks.
        last_value: [B].
    """
    num_tokens, num_turns = batch_shape(trajectories)
    replayed = [t.replayed for t in trajectories]
    shape = (len(trajectories), num_tokens)
    behaviour, turn = torch.zeros(shape), torch.zeros(shape, dtype=torch.long)
    mask, decision = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    rewards = torch.zeros(len(trajectories), num_turns)
    turn_mask = torch.zeros(len(trajectories), num_turns, dtype=torch.bool)
    kind = torch.zeros(len(trajectories), num_turns, dtype=torch.long)
    for b, trajectory in enumerate(trajectories):
        chosen = [
            (logprob, index, is_decision)
            for segment in trajectory.segments
            for logprob, index, is_decision, is_action in zip(
                segment.logprobs, segment.turns, segment.decision, segment.action, strict=True
            )
            if is_action
        ]
        n, k = len(chosen), len(trajectory.turns)
        behaviour[b, :n] = torch.tensor([logprob for logprob, _, _ in chosen])
        turn[b, :n] = torch.tensor([index for _, index, _ in chosen])
        decision[b, :n] = torch.tensor([is_decision for _, _, is_decision in chosen])
        mask[b, :n] = True
        rewards[b, :k] = torch.tensor([t.reward for t in trajectory.turns])
        turn_mask[b, :k] = True
        kind[b, :k] = torch.tensor([KINDS.index(t.kind) for t in trajectory.turns])
    return ActionBatch(
        behaviour_logprobs=behaviour,
        mask=mask,
        decision=decision,
        turn=turn,
        rewards=rewards,
        turn_mask=turn_mask,
        terminated=torch.tensor([t.terminated for t in trajectories]),
        group=group_numbers(trajectories),
        ref_logprobs=ref_logprobs,
        vstar=None if vstar is None else torch.tensor(list(vstar), dtype=torch.float32),
        values=values,
        last_value=last_value,
        kind=kind,
        replayed=torch.tensor(replayed) if any(replayed) else None,
    )


def norm_of(batch: ActionBatch) -> Norm:
    """Sizes of an optimiser batch."""
    return Norm(
        num_trajectories=batch.mask.shape[0],
        num_tokens=int(batch.mask.sum()),
        num_decisions=int(batch.decided.sum()),
        num_turns=int(batch.turn_mask.sum()),
        num_replayed_decisions=int((batch.decided & ~batch.own.unsqueeze(1)).sum()),
        replies_of_kind=_replies_of_kind(batch),
    )


def _replies_of_kind(batch: ActionBatch) -> tuple[int, ...]:
    if batch.kind is None:
        return ()
    decided = batch.per_turn(batch.decided.long()) > 0
    return tuple(int((decided & (batch.kind == number)).sum()) for number in range(len(KINDS)))


def micro_batches(
    trajectories: Sequence[Trajectory], indices: Sequence[int], max_tokens: int, *, padded: bool = False
) -> list[list[int]]:
    """Split indices into micro-batches that stay under a size.

    A trajectory that is too long by itself makes a micro-batch of its own.

    Args:
        indices: in order: trajectories of a group, which share a prompt, stand together.
        max_tokens: in a forward pass.
        padded: whether the network reads padded segments; similar lengths are then put together.
    """
    own = {} if padded else {i: num_packed_tokens(trajectories[i]) for i in indices}

    def size(part: Sequence[int]) -> int:
        if padded:
            return num_padded_tokens([trajectories[i] for i in part])
        return sum(own[i] for i in part)

    batches: list[list[int]] = []
    for index in sorted(indices, key=lambda i: size([i])) if padded else indices:
        grown = [*batches[-1], index] if batches else [index]
        if batches and size(grown) <= max_tokens:
            batches[-1] = grown
        else:
            batches.append([index])
    return batches
