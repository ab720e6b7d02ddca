"""Trajectories to what the algorithm sees, and to micro-batches."""

from __future__ import annotations

import pytest
import torch

from tests.support.shop5_parts import build
from webshop_rl.algos.algorithm import Norm
from webshop_rl.envs.types import EndReason, Goal
from webshop_rl.rollout.packing import num_packed_tokens, num_padded_tokens, pack
from webshop_rl.rollout.types import Segment, Trajectory, Turn
from webshop_rl.training.batching import (
    action_batch,
    batch_shape,
    group_numbers,
    micro_batches,
    norm_of,
    state_numbers,
)


def trajectory(
    goal: str, *turns: tuple[int, float], end: EndReason = EndReason.BOUGHT, context: int = 3
) -> Trajectory:
    """Turns of so many action tokens and such a reward; the i-th token of all has log-prob -i."""
    segment, made = Segment(), Trajectory(Goal(goal, goal, goal), 0, 0, end=end)
    count = 0
    for number, (length, reward) in enumerate(turns):
        segment.append_context([1] * context)
        for _ in range(length):
            segment.append_action(2, -float(count), number, None)
            count += 1
        made.turns.append(Turn("", "", "", reward, True))
    made.segments.append(segment)
    return made


PAIR = [trajectory("a", (2, 0.3), (1, 1.0)), trajectory("b", (1, 0.0), end=EndReason.MAX_STEPS)]


def test_action_tokens_are_packed_to_the_left() -> None:
    batch = action_batch(PAIR, vstar=[0.5, 0.25])
    assert batch.behaviour_logprobs.tolist() == [[0.0, -1.0, -2.0], [0.0, 0.0, 0.0]]
    assert batch.mask.tolist() == [[True] * 3, [True, False, False]]
    assert batch.turn.tolist() == [[0, 0, 1], [0, 0, 0]]
    assert batch.rewards.tolist() == [[pytest.approx(0.3), 1.0], [0.0, 0.0]]
    assert batch.turn_mask.tolist() == [[True, True], [True, False]]
    assert batch.terminated.tolist() == [True, False]
    assert batch.group.tolist() == [0, 1]
    assert batch.vstar is not None
    assert batch.vstar.tolist() == [0.5, 0.25]
    assert batch_shape(PAIR) == (3, 2)
    assert norm_of(batch) == Norm(
        num_trajectories=2, num_tokens=4, num_decisions=4, num_turns=3, replies_of_kind=(0, 0, 0, 0, 0, 3)
    )


def test_one_group_a_goal() -> None:
    assert group_numbers([trajectory(g, (1, 0.0)) for g in "baab"]).tolist() == [0, 1, 1, 0]


def test_turns_of_one_goal_at_identical_pages_share_a_number() -> None:
    trajectories = [
        trajectory("a", (1, 0.0), (1, 0.0), (1, 0.0)),
        trajectory("a", (1, 0.0)),
        trajectory("b", (1, 0.0)),
    ]
    for made, states in zip(trajectories, (("x", "y", "x"), ("y",), ("x",)), strict=True):
        for turn, state in zip(made.turns, states, strict=True):
            turn.state = state
    assert state_numbers(trajectories).tolist() == [[0, 1, 0], [1, 0, 0], [2, 0, 0]]


def test_micro_batches_are_a_partition_under_the_limit_lengths_together() -> None:
    lengths = [4, 30, 5, 29, 6, 31, 100]
    trajectories = [trajectory("g", (n - 3, 0.0)) for n in lengths]
    parts = micro_batches(trajectories, range(7), 64, padded=True)
    assert sorted(i for part in parts for i in part) == list(range(7))
    assert [sorted(lengths[i] for i in part) for part in parts] == [[4, 5, 6], [29, 30], [31], [100]]
    for part in parts[:-1]:
        assert num_padded_tokens([trajectories[i] for i in part]) <= 64
    assert micro_batches(trajectories, [3, 1], 10**6, padded=True) == [[3, 1]]
    assert micro_batches(trajectories, [], 10, padded=True) == []


def test_packed_micro_batches_keep_their_order_and_count_what_is_read() -> None:
    lengths = [4, 30, 5, 29, 6, 31, 100]
    trajectories = [trajectory("g", (n - 3, 0.0)) for n in lengths]
    # 4 + 30 + 5 = 39; 29 + 6 = 35, with 31 it is 66; 31; 100.
    assert micro_batches(trajectories, range(7), 64) == [[0, 1, 2], [3, 4], [5], [6]]
    assert micro_batches(trajectories, [], 10) == []


def test_what_segments_begin_with_in_common_counts_once() -> None:
    """A branch: the first 5 tokens of a trunk of 8, then 2 of its own."""
    made = trajectory("g", (1, 0.0), (1, 0.0))
    branch = Segment()
    branch.append_context(made.segments[0].tokens[:5])
    branch.append_action(7, 0.0, 1, None)
    branch.append_action(8, 0.0, 1, None)
    made.segments.append(branch)
    assert num_packed_tokens(made) == 8 + 2
    assert num_padded_tokens([made]) == 2 * 8


def test_segments_count_padded_each() -> None:
    two = trajectory("g", (2, 0.0))
    two.segments.append(trajectory("g", (9, 0.0)).segments[0])
    assert num_padded_tokens([two]) == 2 * 12


def test_values_stand_before_steps_and_the_last_page_apart() -> None:
    """A second segment goes on counting turns; a page behind the last reply is read too."""
    made = trajectory("g", (2, 0.0), (1, 0.0), end=EndReason.MAX_STEPS)
    second = Segment()
    second.append_context([1, 1])
    second.append_action(2, 0.0, 2, None)
    second.append_context([1])
    made.segments.append(second)
    made.turns.append(Turn("", "", "", 0.0, True))
    options = {"num_tokens": 5, "num_turns": 3, "pad": 0, "device": torch.device("cpu")}
    packed = pack([made], **options)  # type: ignore[arg-type]
    # Segment 0: 3 context, 2 tokens, 3 context, 1 token; segment 1: 2 context, 1 token, 1 context.
    places = list(zip(packed.inputs.value_row.tolist(), packed.inputs.value_position.tolist(), strict=True))
    assert places == [(0, 2), (0, 7), (1, 1), (1, 3)]
    before, last = packed.values(torch.tensor([10.0, 11.0, 12.0, 13.0]))
    assert before.tolist() == [[10.0, 11.0, 12.0]]
    assert last.tolist() == [13.0]
    per_token = pack([made], value_level="token", **options)  # type: ignore[arg-type]
    assert per_token.inputs.value_position.tolist() == [2, 3, 7, 1, 3]
    before, last = per_token.values(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert before.tolist() == [[1.0, 2.0, 3.0, 4.0, 0.0]]
    assert last.tolist() == [5.0]


def test_without_a_last_page_a_truncated_episode_is_read_at_its_last_token() -> None:
    packed = pack(PAIR, num_tokens=3, num_turns=2, pad=0, device=torch.device("cpu"))
    # The second trajectory: 3 context tokens, 1 of a reply, and no room for a page.
    assert packed.inputs.value_row.tolist() == [0, 0, 1, 1]
    assert packed.inputs.value_position.tolist() == [2, 7, 2, 3]
    before, last = packed.values(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert before.tolist() == [[1.0, 2.0], [3.0, 0.0]]
    assert last.tolist() == [0.0, 4.0]


def test_forced_tokens_are_no_decisions_and_stay_0() -> None:
    parts = build()
    trajectories = parts.collect(3)
    tokens, turns = batch_shape(trajectories)
    packed = pack(
        trajectories,
        num_tokens=tokens,
        num_turns=turns,
        pad=parts.agent.codec.pad,
        device=torch.device("cpu"),
    )
    marked = packed.tokens(torch.ones(len(packed.inputs.masks)))
    batch = action_batch(trajectories)
    assert bool((marked <= batch.mask).all())
    assert 0 < marked.sum() < batch.mask.sum()
    assert torch.equal(marked > 0, batch.decision)
    assert norm_of(batch).num_decisions == sum(t.num_decisions for t in trajectories) == marked.sum()
    assert not batch.behaviour_logprobs[marked == 0].any()
