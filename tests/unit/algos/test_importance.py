"""What another engine sampled: the gap, the weights, and what they do to the loss."""

from __future__ import annotations

from math import exp

import pytest
import torch

from webshop_rl.algos.importance import correction

POLICY = torch.tensor([[-1.0, -2.0, -0.5], [-3.0, -1.0, float("nan")]])
ENGINE = torch.tensor([[-1.1, -1.0, -9.0], [-5.0, -1.0, 0.0]])
DECIDED = torch.tensor([[True, True, False], [True, True, False]])


def test_weights_are_ratios_up_to_the_cap_and_1_where_nothing_was_decided() -> None:
    found = correction(POLICY, ENGINE, DECIDED, 2.0)
    # log pi - log mu = 0.1, -1, (forced); 2, 0, (forced): e^2 = 7.4 is cut to 2
    wanted = [[exp(0.1), exp(-1.0), 1.0], [2.0, 1.0, 1.0]]
    torch.testing.assert_close(found.weights, torch.tensor(wanted))
    assert found.metrics["gap_mean"] == pytest.approx((0.1 + 1 + 2 + 0) / 4)
    assert found.metrics["gap_max"] == pytest.approx(2.0)
    assert found.metrics["truncated_frac"] == pytest.approx(1 / 4)
    assert found.metrics["weight_mean"] == pytest.approx((exp(0.1) + exp(-1.0) + 2.0 + 1.0) / 4)


def test_without_a_cap_the_gap_is_measured_and_nothing_corrected() -> None:
    found = correction(POLICY, ENGINE, DECIDED, None)
    assert bool((found.weights == 1).all())
    assert found.metrics["gap_max"] == pytest.approx(2.0)
    assert found.metrics["truncated_frac"] == 0


def test_equal_log_probs_need_no_correction() -> None:
    found = correction(POLICY, POLICY.clone(), DECIDED, 1.0)
    assert bool((found.weights == 1).all())
    assert found.metrics == {"gap_mean": 0, "gap_max": 0, "weight_mean": 1, "truncated_frac": 0}


def test_a_cap_below_1_is_refused() -> None:
    with pytest.raises(ValueError, match="below 1"):
        correction(POLICY, ENGINE, DECIDED, 0.5)
