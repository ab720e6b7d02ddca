"""Advantages over time, by hand and against the plain sum over the future."""

import pytest
import torch

from webshop_rl.algos.advantages import (
    gae,
    sum_per_turn,
    token_rewards,
    turns_to_tokens,
)

D = torch.double
REWARDS = torch.tensor([[0.3, 0.3, 1.0]], dtype=D)
VALUES = torch.tensor([[0.5, 0.6, 0.9]], dtype=D)
ALL = torch.ones(1, 3, dtype=torch.bool)
NOTHING = torch.zeros(1, dtype=D)


def _list(x: torch.Tensor) -> list[float]:
    return [float(v) for v in x.flatten()]


def test_turn_level_by_hand() -> None:
    # d2 = 1.0 - 0.9 = 0.1          A2 = 0.1
    # d1 = 0.3 + 0.9 - 0.6 = 0.6    A1 = 0.6 + 0.5 x 0.1 = 0.65
    # d0 = 0.3 + 0.6 - 0.5 = 0.4    A0 = 0.4 + 0.5 x 0.65 = 0.725
    got = gae(REWARDS, VALUES, ALL, NOTHING, gamma=1.0, gae_lambda=0.5)
    assert _list(got) == pytest.approx([0.725, 0.65, 0.1], abs=1e-12)


def test_turn_level_discounted() -> None:
    # gamma 0.9, lambda 0.5: d2 = 0.1; d1 = 0.3 + 0.81 - 0.6 = 0.51; d0 = 0.3 + 0.54 - 0.5 = 0.34
    # A1 = 0.51 + 0.45 x 0.1 = 0.555;  A0 = 0.34 + 0.45 x 0.555 = 0.58975
    got = gae(REWARDS, VALUES, ALL, NOTHING, gamma=0.9, gae_lambda=0.5)
    assert _list(got) == pytest.approx([0.58975, 0.555, 0.1], abs=1e-12)


def test_what_follows_the_last_turn_is_added() -> None:
    # last value 0.4: d2 = 1.0 + 0.4 - 0.9 = 0.5;  A1 = 0.6 + 0.25 = 0.85;  A0 = 0.4 + 0.425 = 0.825
    got = gae(REWARDS, VALUES, ALL, torch.tensor([0.4], dtype=D), gamma=1.0, gae_lambda=0.5)
    assert _list(got) == pytest.approx([0.825, 0.85, 0.5], abs=1e-12)


def test_token_level_carries_through_page_tokens() -> None:
    # The same three steps with page tokens before, between and after them.
    at = torch.tensor([1, 4, 5])
    mask = torch.zeros(1, 8, dtype=torch.bool).index_fill(1, at, True)
    spread = torch.full((1, 8), torch.nan, dtype=D)
    rewards, values = spread.clone(), spread.clone()
    rewards[:, at], values[:, at] = REWARDS, VALUES
    got = gae(rewards, values, mask, NOTHING, gamma=0.9, gae_lambda=0.5)
    packed = gae(REWARDS, VALUES, ALL, NOTHING, gamma=0.9, gae_lambda=0.5)
    assert torch.equal(got[:, at], packed)
    assert (got[~mask] == 0).all()


def test_lambda_1_is_the_future_less_the_value() -> None:
    g = torch.Generator().manual_seed(0)
    rewards, values = (torch.randn(4, 6, generator=g, dtype=D) for _ in range(2))
    mask = torch.arange(6) < torch.tensor([[6], [1], [3], [4]])
    got = gae(rewards, values, mask, torch.zeros(4, dtype=D), gamma=0.9, gae_lambda=1.0)
    for b in range(4):
        for k in range(6):
            future = sum(0.9 ** (j - k) * float(rewards[b, j]) for j in range(k, 6) if mask[b, j])
            wanted = future - float(values[b, k]) if mask[b, k] else 0.0
            assert float(got[b, k]) == pytest.approx(wanted, abs=1e-12)


MASK = torch.tensor([[True, True, True, True, False], [True, True, False, False, False]])
TURN = torch.tensor([[0, 0, 1, 2, 0], [0, 0, 0, 0, 0]])
TURN_MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_between_turns_and_tokens() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, torch.nan, torch.nan]])
    assert turns_to_tokens(x, TURN, MASK).tolist() == [[1, 1, 2, 3, 0], [4, 4, 0, 0, 0]]
    assert token_rewards(x, TURN, MASK, TURN_MASK).tolist() == [[0, 1, 2, 3, 0], [0, 4, 0, 0, 0]]
    tokens = torch.tensor([[1.0, 2.0, 4.0, 8.0, torch.nan], [16.0, 32.0, 9.0, 9.0, 9.0]])
    assert sum_per_turn(tokens, TURN, MASK, 3).tolist() == [[3, 4, 8], [48, 0, 0]]


def test_a_turn_without_tokens_would_lose_its_reward() -> None:
    with pytest.raises(ValueError, match="without action tokens"):
        token_rewards(torch.ones(2, 3), TURN, MASK, torch.ones(2, 3, dtype=torch.bool))
