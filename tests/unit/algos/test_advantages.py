"""Normalisation, clipping, groups, and the rule that a constant advantage is exactly 0."""

import math

import pytest
import torch

from webshop_rl.algos.advantages import all_equal, group_advantages, group_statistics, normalise

D = torch.double


def test_mean_std_by_hand() -> None:
    # mean 2, squares 1 + 1 + 1 + 9 = 12 over 4: std sqrt(3) = 1.732051
    found = normalise(torch.tensor([1.0, 1.0, 1.0, 5.0], dtype=D), how="mean_std", std_min=0.0, clip=None)
    assert found.values.tolist() == pytest.approx([-1 / math.sqrt(3)] * 3 + [math.sqrt(3)], abs=1e-12)
    assert not found.equal


def test_other_norms_floor_and_clip() -> None:
    x = torch.tensor([1.0, 1.0, 1.0, 5.0], dtype=D)
    assert torch.equal(normalise(x, how="none", std_min=9.0, clip=None).values, x)
    std = normalise(x, how="std", std_min=0.0, clip=None).values
    assert std.tolist() == pytest.approx([v / math.sqrt(3) for v in (1, 1, 1, 5)], abs=1e-12)
    assert normalise(x, how="mean_std", std_min=4.0, clip=None).values.tolist() == [-0.25, -0.25, -0.25, 0.75]
    clipped = normalise(x, how="mean_std", std_min=4.0, clip=0.5)
    assert clipped.values.tolist() == [-0.25, -0.25, -0.25, 0.5]
    assert clipped.clipped_frac == 0.25
    other_side = normalise(-x, how="mean_std", std_min=4.0, clip=0.5)
    assert other_side.values.tolist() == [0.25, 0.25, 0.25, -0.5]
    assert other_side.clipped_frac == 0.25


@pytest.mark.parametrize("how", ["none", "std", "mean_std"])
def test_rounding_is_not_divided_by_itself(how: str) -> None:
    # 0.3 + 0.3 + 1.0 in float32 in two orders differs in the last digit.
    x = torch.tensor([0.3, 0.3]).sum() + 1.0
    y = torch.tensor([1.0, 0.3]).sum() + 0.3
    returns = torch.stack([x, y, torch.nextafter(y, y + 1)])
    assert returns.unique().numel() > 1
    found = normalise(returns, how=how, std_min=0.0, clip=5.0)
    assert found.equal
    assert (found.values == 0).all()
    # Less a baseline of about the same size nothing but rounding is left: the operands give the scale.
    found = normalise(returns - 1.6, how=how, std_min=0.0, clip=5.0, scale=1.6)
    assert (found.values == 0).all()


def test_a_small_difference_that_means_something_stays() -> None:
    assert not all_equal(torch.tensor([1.6, 1.6001]), scale=1.6)
    assert not all_equal(torch.tensor([0.0, 1e-9]))
    assert all_equal(torch.tensor([0.0, 0.0]))
    assert all_equal(torch.tensor([-3.0]))


@pytest.mark.parametrize("bad", [[], [math.nan, 1.0], [math.inf, 1.0]])
def test_advantages_must_be_finite(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        normalise(torch.tensor(bad), how="none", std_min=0.0, clip=None)


GROUP = torch.tensor([7, 3, 7, 3, 7, 9, 3])
RETURNS = torch.tensor([0.0, 1.6, 1.0, 1.6, 2.0, 5.0, 1.6], dtype=D)


def test_group_statistics_by_hand() -> None:
    # group 7: 0, 1, 2: mean 1, variance 2/3; group 3: all 1.6; group 9: one alone
    found = group_statistics(RETURNS, GROUP)
    assert found.mean.tolist() == pytest.approx([1, 1.6, 1, 1.6, 1, 5, 1.6])
    assert found.std.tolist() == pytest.approx(
        [math.sqrt(2 / 3), 0, math.sqrt(2 / 3), 0, math.sqrt(2 / 3), 0, 0]
    )
    assert found.size.tolist() == [3, 3, 3, 3, 3, 1, 3]
    assert found.equal.tolist() == [False, True, False, True, False, False, True]
    # One of the three groups is all equal; a group counts once whatever its size.
    assert found.per_group(found.equal.double()) == pytest.approx(1 / 3)
    assert found.per_group(found.std) == pytest.approx(math.sqrt(2 / 3) / 3)


def test_group_advantages_by_hand() -> None:
    none = group_advantages(RETURNS, GROUP, scale="none", eps=1e-6)
    assert none.tolist() == [-1, 0, 0, 0, 1, 0, 0]
    std = group_advantages(RETURNS.float(), GROUP, scale="std", eps=1e-6)
    assert std.tolist() == pytest.approx([-math.sqrt(1.5), 0, 0, 0, math.sqrt(1.5), 0, 0], abs=1e-5)


def test_an_all_equal_group_of_float32_is_exactly_0() -> None:
    """Without the rule rounding over eps gives |A| up to 0.19 (eps 1e-6)."""
    returns = torch.tensor([1.6, 1.6000001, 1.5999999, 1.6], dtype=torch.float32)
    naive = (returns - returns.mean()) / (returns.std(correction=0) + 1e-6)
    assert naive.abs().max() > 0.05
    assert (group_advantages(returns, torch.zeros(4, dtype=torch.long), scale="std", eps=1e-6) == 0).all()
