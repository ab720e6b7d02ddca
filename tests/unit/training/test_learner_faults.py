"""What keeps a step from going wrong: gradients that are not finite, clipping, memory that runs out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.support.learner_steps import step, vstar_of
from tests.support.shop5_parts import build
from webshop_rl.algos.algorithm import LossOutput
from webshop_rl.errors import UserError
from webshop_rl.training.learner import Learner, out_of_memory_advice


def test_an_infinite_gradient_takes_no_step() -> None:
    parts = build()
    trajectories = parts.collect(4)
    learner = parts.learner()
    plain = learner._ranks.clip_grad_norm
    learner._ranks.clip_grad_norm = lambda *args: (plain(*args), math.inf)[1]  # type: ignore[method-assign]
    before = [p.clone() for p in parts.agent.network.parameters()]
    result = next(learner.learn(trajectories, vstar_of(parts, trajectories), 0))
    after = list(parts.agent.network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert (result.metrics["optim/skipped_steps"], learner.skipped_in_a_row) == (1.0, 1)


def test_skipped_in_a_row_goes_on_where_it_was_left() -> None:
    """After a resume the run is given up no later than without it."""
    parts = build()
    trajectories = parts.collect(4)
    learner = parts.learner(max_skipped_steps=3)
    learner.skipped_in_a_row = 2
    poisoned(learner, lambda _call: True)
    with pytest.raises(UserError, match="not finite for 3 steps"):
        next(learner.learn(trajectories, vstar_of(parts, trajectories), 0))


def poisoned(learner: Learner, bad: Callable[[int], bool]) -> None:
    """Make the loss of some steps not a number."""
    plain, count = learner.algorithm.loss, [0]

    def loss(*args: Any, **options: Any) -> LossOutput:
        output = plain(*args, **options)
        count[0] += 1
        return replace(output, loss=output.loss * math.nan) if bad(count[0]) else output

    learner.algorithm.loss = loss  # type: ignore[method-assign]


def test_a_gradient_that_is_not_finite_skips_the_step_and_is_counted() -> None:
    parts = build()
    trajectories = parts.collect(4)
    learner = parts.learner(micro_batch_tokens=10**6, max_skipped_steps=2)
    poisoned(learner, lambda call: call in (1, 3))
    before = [p.clone() for p in parts.agent.network.parameters()]
    skipped = []
    for update in range(4):
        result = next(learner.learn(trajectories, vstar_of(parts, trajectories), update))
        skipped.append(result.metrics["optim/skipped_steps"])
        after = list(parts.agent.network.parameters())
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) == (update > 0)
        assert all(torch.isfinite(p).all() for p in after)
    assert skipped == [1, 1, 2, 2]


def test_too_many_skipped_in_a_row_end_the_run_with_advice() -> None:
    parts = build()
    trajectories = parts.collect(4)
    learner = parts.learner(micro_batch_tokens=10**6, max_skipped_steps=3)
    poisoned(learner, lambda _call: True)
    taken = [next(learner.learn(trajectories, vstar_of(parts, trajectories), i)) for i in range(2)]
    assert len(taken) == 2
    with pytest.raises(UserError, match=r"not finite for 3 steps.*lower lr"):
        next(learner.learn(trajectories, vstar_of(parts, trajectories), 2))


def test_out_of_memory_names_the_keys_to_turn() -> None:
    with (
        pytest.raises(UserError, match=r"micro_batch_tokens.*gradient_checkpointing.*lora\.enabled"),
        out_of_memory_advice(),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")


def test_the_gradient_is_clipped_and_its_norm_before_is_reported() -> None:
    parts = build()
    trajectories = parts.collect(6)
    unclipped, _ = step(parts, trajectories)
    learner = parts.learner(grad_clip=0.01)
    metrics = next(learner.learn(trajectories, vstar_of(parts, trajectories), 0)).metrics
    assert metrics["optim/grad_norm"] == pytest.approx(unclipped["optim/grad_norm"], rel=1e-4)
    assert metrics["optim/grad_norm"] > 0.1
    gradients = [p.grad for p in parts.agent.network.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    assert norm == pytest.approx(0.01, rel=1e-3)
