"""Estimators of KL against their definitions, summed exactly over a small vocabulary."""

import math

import pytest
import torch

from webshop_rl.algos.losses import k1, k2, k3, kl_estimate, log_ratio

POLICY = torch.tensor([1.0, -0.5, 0.3, 0.0], dtype=torch.double)
REFERENCE = torch.tensor([0.2, 0.1, -1.0, 0.4], dtype=torch.double)


def test_values_at_ln_2() -> None:
    # x = ln 2: k1 = 0.693147, k2 = 0.480453 / 2 = 0.240227, k3 = 1/2 - 1 + 0.693147 = 0.193147
    x = torch.tensor(math.log(2), dtype=torch.double)
    assert [float(k(x)) for k in (k1, k2, k3)] == pytest.approx([0.693147, 0.240227, 0.193147], abs=1e-6)
    assert [float(kl_estimate(x, k)) for k in ("k1", "k2", "k3")] == [float(k(x)) for k in (k1, k2, k3)]


def test_k3_keeps_its_digits_near_0() -> None:
    # k3 = x^2 / 2 - x^3 / 6: in float32 e^-x - 1 + x written out is 0 or 6e-8 here, not 5e-9
    assert float(k3(torch.tensor(1e-4))) == pytest.approx(5e-9, rel=0.2, abs=0)


def test_k1_and_k3_average_to_kl() -> None:
    log_p, log_q = POLICY.log_softmax(0), REFERENCE.log_softmax(0)
    exact = float((log_p.exp() * (log_p - log_q)).sum())
    for estimator in (k1, k3):
        assert float((log_p.exp() * estimator(log_p - log_q)).sum()) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(("estimator", "share"), [(k1, 0.0), (k2, 1.0), (k3, None)])
def test_average_gradient_on_policy(estimator: object, share: float | None) -> None:
    """As a loss k1 has no gradient on average, k2 that of KL, k3 another."""
    logits = POLICY.clone().requires_grad_()
    log_p, log_q = logits.log_softmax(0), REFERENCE.log_softmax(0)
    kl = (log_p.exp() * (log_p - log_q)).sum()
    (wanted,) = torch.autograd.grad(kl, logits, retain_graph=True)
    # Samples are drawn with constant probability: the expectation of the gradient, exactly.
    average = (log_p.exp().detach() * estimator(log_p - log_q)).sum()  # type: ignore[operator]
    (got,) = torch.autograd.grad(average, logits)
    if share is None:
        assert not torch.allclose(got, wanted, atol=1e-3)
    else:
        assert torch.allclose(got, share * wanted, atol=1e-12)


def test_log_ratio_is_clamped_and_blind_outside_the_mask() -> None:
    logprobs = torch.tensor([[-1.0, -50.0, math.nan, -0.5]], requires_grad=True)
    other = torch.tensor([[-2.0, -1.0, -1.0, math.inf]])
    mask = torch.tensor([[True, True, False, False]])
    x = log_ratio(logprobs, other, mask)
    assert x.tolist() == [[1.0, -20.0, 0.0, 0.0]]
    x.sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[1.0, 0.0, 0.0, 0.0]]
