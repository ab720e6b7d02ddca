"""Cloning by hand: the likelihood, the accuracies, the student's share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.support.algorithms import algo_settings
from tests.support.shop5_parts import build
from webshop_rl.algos.algorithm import ActionBatch, LossInputs
from webshop_rl.algos.bc.config import BcConfig
from webshop_rl.algos.bc.loss import Bc
from webshop_rl.envs.demonstrators import Demonstrator
from webshop_rl.envs.types import KINDS
from webshop_rl.errors import UserError
from webshop_rl.rollout.guided import GuidedCollector
from webshop_rl.training.batching import norm_of

D = torch.double


def _bc(**change: Any) -> Bc:
    return Bc(**algo_settings("bc", **change))


def _batch() -> ActionBatch:
    """Two trajectories. The first: a query of two decisions, then "back" of one. The second: "back" of one
    decision and a forced token, then a reply all of whose tokens are forced."""
    return ActionBatch(
        behaviour_logprobs=torch.zeros(2, 4, dtype=D),
        mask=torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0]], dtype=torch.bool),
        decision=torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool),
        turn=torch.tensor([[0, 0, 1, 0], [0, 0, 1, 0]]),
        rewards=torch.tensor([[0.0, 7.0], [0.0, -3.0]], dtype=D),
        turn_mask=torch.ones(2, 2, dtype=torch.bool),
        terminated=torch.ones(2, dtype=torch.bool),
        group=torch.tensor([0, 1]),
        kind=torch.tensor([[KINDS.index("query"), KINDS.index("back")], [KINDS.index("back")] * 2]),
    )


def _inputs(batch: ActionBatch, rows: list[int], *, whole: ActionBatch) -> LossInputs:
    logprobs = torch.tensor([[-1.0, -2.0, -0.5, 99.0], [-0.1, 0.0, 0.0, 99.0]], dtype=D)[rows]
    greedy = torch.tensor([[1, 0, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)[rows]
    return LossInputs(
        logprobs.requires_grad_(),
        batch,
        _bc().advantages(whole).tokens[rows],
        norm_of(whole),
        greedy=greedy,
    )


def test_loss_and_accuracies_by_hand() -> None:
    whole = _batch()
    inputs = _inputs(whole, [0, 1], whole=whole)
    output = _bc().loss(inputs)
    # (1 + 2 + .5 + .1) / 4 decisions
    assert float(output.loss.detach()) == pytest.approx(0.9)
    assert float(output.metrics["nll"]) == pytest.approx(0.9)
    output.loss.backward()  # type: ignore[no-untyped-call]
    assert inputs.logprobs.grad is not None
    assert inputs.logprobs.grad.tolist() == [[-0.25, -0.25, -0.25, 0.0], [-0.25, 0.0, 0.0, 0.0]]
    accuracies = {name: float(value) for name, value in output.metrics.items() if "accuracy" in name}
    # One of the query's two tokens is not greedy; both replies "back" that leave a choice are.
    assert accuracies == {"accuracy_query": 0.0, "accuracy_back": 1.0}


def test_micro_batches_add_up() -> None:
    whole = _batch()
    both = _bc().loss(_inputs(whole, [0, 1], whole=whole))
    parts = [_bc().loss(_inputs(whole.select(torch.tensor([row])), [row], whole=whole)) for row in (0, 1)]
    assert float((parts[0].loss + parts[1].loss).detach()) == pytest.approx(float(both.loss.detach()))
    for name, value in both.metrics.items():
        assert float(sum(part.metrics[name] for part in parts)) == pytest.approx(float(value))


def test_rewards_play_no_part() -> None:
    whole = _batch()
    other = replace(whole, rewards=whole.rewards * -5)
    assert torch.equal(
        _bc().loss(_inputs(whole, [0, 1], whole=whole)).loss,
        _bc().loss(_inputs(other, [0, 1], whole=other)).loss,
    )


def test_the_students_share_rises_in_a_line() -> None:
    bc = _bc(student_share=0.8, student_from=0.2, student_until=0.6)
    shares = [bc.student_share_at(progress) for progress in (0.0, 0.2, 0.3, 0.4, 0.6, 1.0)]
    assert shares == pytest.approx([0.0, 0.0, 0.2, 0.4, 0.8, 0.8])
    at_once = _bc(student_share=0.5, student_from=0.0, student_until=0.0)
    assert [at_once.student_share_at(progress) for progress in (0.001, 1.0)] == [0.5, 0.5]
    with pytest.raises(UserError, match="student_until"):
        BcConfig.check({"student_from": 0.5, "student_until": 0.4})


def test_a_few_updates_clone_what_is_shown() -> None:
    """Accuracies as the learner logs them: of a policy that was fitted to one collection, 1 of every kind."""
    parts = build("algo=bc", "env.distractors=4", "lr=1e-5", sharpen=1.0)
    guided = GuidedCollector(parts.collector, Demonstrator(parts.shop.answers(), 10).act)
    shown = guided.collect(parts.specs(10), student_share=0.0, temperature=1.0)
    learner = parts.learner()
    for update in range(80):
        (result,) = learner.learn(shown, None, update)
    kinds = {name: value for name, value in result.metrics.items() if "accuracy" in name}
    assert kinds == {f"algo/accuracy_{kind}": pytest.approx(1.0) for kind in ("query", "open", "buy")}
    assert result.metrics["algo/nll"] < 0.1
