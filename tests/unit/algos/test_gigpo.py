"""GiGPO by hand: an episode among those of its goal, a turn among those that replied to the same page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.support.algorithms import algo_settings
from tests.support.learner_steps import step
from tests.support.shop5_parts import build
from webshop_rl.algos.algorithm import ActionBatch, LossInputs, Norm
from webshop_rl.algos.gigpo.loss import Gigpo, returns_to_go
from webshop_rl.algos.grpo.loss import Grpo
from webshop_rl.training.batching import action_batch, state_numbers

D = torch.double
NORM = Norm(num_trajectories=3, num_tokens=7, num_decisions=7, num_turns=6)


def _gigpo(**change: Any) -> Gigpo:
    return Gigpo(**algo_settings("gigpo", **change))


def _batch(**change: Any) -> ActionBatch:
    """Two episodes of goal 0 and one of goal 1; the second turn of the first has two tokens.

    Episode 0: page 0 (reward .3), page 1 (reward 1).
    Episode 1: page 0 (reward 0), page 2 (reward .3), page 1 (reward 0).
    Episode 2: page 3 (reward .5), of another goal.
    """
    whole: dict[str, Any] = {
        "behaviour_logprobs": torch.full((3, 3), -1.0, dtype=D),
        "mask": torch.tensor([[1, 1, 1], [1, 1, 1], [1, 0, 0]], dtype=torch.bool),
        "decision": torch.tensor([[1, 1, 1], [1, 1, 1], [1, 0, 0]], dtype=torch.bool),
        "turn": torch.tensor([[0, 1, 1], [0, 1, 2], [0, 0, 0]]),
        "rewards": torch.tensor([[0.3, 1.0, 0.0], [0.0, 0.3, 0.0], [0.5, 0.0, 0.0]], dtype=D),
        "turn_mask": torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]], dtype=torch.bool),
        "terminated": torch.ones(3, dtype=torch.bool),
        "group": torch.tensor([0, 0, 1]),
        "state": torch.tensor([[0, 1, 0], [0, 2, 1], [3, 0, 0]]),
    }
    return ActionBatch(**(whole | change))


def test_what_follows_a_turn_by_hand() -> None:
    # gamma .5: .3 + .5 x 1, 1; 0 + .5 x .3 + .25 x 0, .3, 0; .5
    wanted = [[0.8, 1.0, 0.0], [0.15, 0.3, 0.0], [0.5, 0.0, 0.0]]
    assert returns_to_go(_batch(), 0.5).tolist() == [pytest.approx(row) for row in wanted]


def test_advantages_by_hand() -> None:
    # Episodes: returns 1.3 and .3, mean .8: .5, -.5; goal 1 has one: 0.
    # Turns at page 0: .8 and .15, mean .475: .325, -.325. At page 1: 1 and 0: .5, -.5. Pages 2, 3 once: 0.
    found = _gigpo(scale="none", gamma=0.5, step_coef=2.0).advantages(_batch())
    wanted = [
        [0.5 + 2 * 0.325, 0.5 + 2 * 0.5, 0.5 + 2 * 0.5],
        [-0.5 - 2 * 0.325, -0.5, -0.5 - 2 * 0.5],
        [0.0, 0.0, 0.0],
    ]
    assert found.tokens.tolist() == [pytest.approx(row) for row in wanted]
    # Six turns: 1.15, 1.5, -1.15, -.5, -1.5, 0
    assert found.metrics["advantage_mean"] == pytest.approx(-0.5 / 6)
    assert found.metrics["advantage_max"] == pytest.approx(1.5)
    assert found.metrics["repeated_page_frac"] == pytest.approx(4 / 6)
    assert found.metrics["groups_equal_frac"] == 0.0


def test_in_units_of_the_spread_of_its_own_group() -> None:
    # Two numbers, ddof 0: (x - mean) / std = 1 and -1, whatever they are.
    found = _gigpo(scale="std", std_eps=1e-12, gamma=0.5, step_coef=0.5).advantages(_batch())
    wanted = [[1.5, 1.5, 1.5], [-1.5, -1.0, -1.5], [0.0, 0.0, 0.0]]
    assert found.tokens.tolist() == [pytest.approx(row) for row in wanted]


def test_without_turns_it_is_grpo() -> None:
    shared = {"scale": "std", "kl_coef": 0.2, "kl_estimator": "k1", "adv_clip": 0.9}
    batch = _batch(ref_logprobs=torch.tensor([[-1.0, -1.5, -1.0], [-1.2, -1.0, -1.0], [-1.0, 0, 0]], dtype=D))
    ours = _gigpo(step_coef=0.0, **shared).advantages(batch).tokens
    grpo = Grpo(**algo_settings("grpo", **shared)).advantages(batch).tokens
    assert torch.allclose(ours, grpo)
    assert ours.abs().max() > 0.1


def test_the_same_page_of_another_goal_is_another_page() -> None:
    """Numbers of pages are of a goal; a batch that mixed them would compare what cannot be compared."""
    apart = _gigpo(scale="none").advantages(_batch()).tokens
    mixed = _batch(state=torch.tensor([[0, 1, 0], [0, 2, 1], [0, 0, 0]]))
    assert not torch.allclose(apart, _gigpo(scale="none").advantages(mixed).tokens)


def test_loss_by_hand() -> None:
    algorithm, batch = _gigpo(scale="none", gamma=0.5), _batch()
    logprobs = torch.full((3, 3), -2.0, dtype=D, requires_grad=True)
    output = algorithm.loss(LossInputs(logprobs, batch, algorithm.advantages(batch).tokens, NORM))
    # -(-2) x (.825 + 1 + 1 - .825 - .5 - 1) / 3 trajectories
    assert output.loss.item() == pytest.approx(2 * 0.5 / 3)
    (gradient,) = torch.autograd.grad(output.loss, logprobs)
    assert gradient[0].tolist() == pytest.approx([-0.825 / 3, -1 / 3, -1 / 3])


def test_nothing_to_compare_is_exactly_0() -> None:
    same = torch.tensor([[0.3, 0.0, 0.0]] * 3, dtype=D)
    found = _gigpo().advantages(_batch(rewards=same, state=torch.tensor([[0, 1, 0], [0, 1, 1], [3, 0, 0]])))
    assert (found.tokens == 0).all()
    assert found.metrics["advantages_equal"] == 1.0


def test_pages_are_asked_for() -> None:
    with pytest.raises(ValueError, match="pages"):
        _gigpo().advantages(replace(_batch(), state=None))


def test_the_learner_gives_it_the_pages_of_real_episodes() -> None:
    parts = build("algo=gigpo", sharpen=1.0)
    trajectories = parts.collect(20)
    metrics, _ = step(parts, trajectories)
    # Every episode begins at the search page, so each goal's four first turns share a page at least.
    assert metrics["algo/repeated_page_frac"] >= 20 / sum(len(t.turns) for t in trajectories)
    alone = replace(action_batch(trajectories), state=state_numbers(trajectories))
    assert parts.algorithm.advantages(alone).metrics["repeated_page_frac"] == pytest.approx(
        metrics["algo/repeated_page_frac"]
    )
