"""Choosing tokens: masks, inverse CDF, nucleus, greedy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from webshop_rl.interface.masks import TokenMask, everything_but, only
from webshop_rl.models.masking import apply_masks
from webshop_rl.models.sampling import choose

# Probabilities .1 .2 .3 .4
LOGITS = torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4]))


def draw(
    uniforms: list[float], mask: TokenMask | None = None, **options: float
) -> tuple[list[int], list[float]]:
    settings = {"temperature": 1.0, **options}
    n = len(uniforms)
    tokens, logprobs, _ = choose(LOGITS.expand(n, 4), [mask] * n, uniforms, **settings)
    return tokens, logprobs


def test_inverse_cdf() -> None:
    tokens, logprobs = draw([0.0, 0.09, 0.11, 0.29, 0.31, 0.59, 0.61, 0.999])
    assert tokens == [0, 0, 1, 1, 2, 2, 3, 3]
    assert np.exp(logprobs) == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4])


def test_frequencies_are_the_probabilities_under_temperature() -> None:
    tokens, logprobs = draw([(i + 0.5) / 1000 for i in range(1000)], temperature=0.5)
    # squares .01 .04 .09 .16 over .30
    assert np.bincount(tokens) / 1000 == pytest.approx([0.0333, 0.1333, 0.3, 0.5333], abs=1e-3)
    assert math.exp(logprobs[0]) == pytest.approx(1 / 30)


def test_masks_renormalise_what_they_let_through() -> None:
    tokens, logprobs = draw([0.0, 0.24, 0.26, 0.99], only({0, 2}))
    assert tokens == [0, 0, 2, 2]
    assert np.exp(logprobs) == pytest.approx([0.25, 0.25, 0.75, 0.75])
    tokens, _ = draw([0.0, 0.32, 0.34, 0.999], everything_but({3, 2}))
    assert tokens == [0, 0, 1, 1]
    assert draw([0.5], only({1})) == ([1], [0.0])


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_a_draw_at_either_end_is_still_let_through(uniform: float) -> None:
    tokens, logprobs = draw([uniform], only({1, 2}))
    assert tokens[0] in (1, 2)
    assert math.isfinite(logprobs[0])


def test_greedy_takes_the_likeliest_and_reports_it_at_temperature_1() -> None:
    tokens, logprobs = draw([0.0, 0.99], only({0, 1, 2}), temperature=0.0)
    assert tokens == [2, 2]
    assert np.exp(logprobs) == pytest.approx([0.5, 0.5])  # .3 of .6


def test_nucleus_is_the_smallest_set_that_reaches_top_p_and_is_recorded() -> None:
    logits = LOGITS.expand(3, 4)
    tokens, logprobs, masks = choose(
        logits, [None, only({0, 1}), None], [0.0, 0.99, 0.99], temperature=1.0, top_p=0.69
    )
    # .4 + .3 reach .69; of .1 and .2 the larger alone has two thirds, so both are kept
    assert [m.ids.tolist() for m in masks if m] == [[2, 3], [0, 1], [2, 3]]
    assert tokens == [2, 1, 3]
    assert np.exp(logprobs) == pytest.approx([3 / 7, 2 / 3, 4 / 7])
    _, logprobs, masks = choose(logits, [None] * 3, [0.5] * 3, temperature=1.0, top_p=0.39)
    assert masks[0] is not None
    assert (masks[0].forced, logprobs) == (3, [0.0] * 3)


def test_top_p_1_records_nothing() -> None:
    assert choose(LOGITS[None], [None], [0.5], temperature=1.0)[2] == [None]


def test_a_row_is_the_same_whatever_stands_beside_it() -> None:
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(0))
    masks: list[TokenMask | None] = [None, only({3, 4}), everything_but({7}), None, only({1})]
    uniforms = [0.1, 0.9, 0.5, 0.7, 0.3]
    together = choose(logits, masks, uniforms, temperature=0.7, top_p=0.8)
    for i in range(5):
        alone = choose(logits[i : i + 1], [masks[i]], [uniforms[i]], temperature=0.7, top_p=0.8)
        assert (alone[0][0], alone[1][0]) == (together[0][i], together[1][i])


def test_forced_is_the_only_token_let_through() -> None:
    assert only({5}).forced == 5
    assert only([4, 5]).forced is None
    assert everything_but({5}).forced is None


def test_without_masks_logits_are_left_as_they_are() -> None:
    assert apply_masks(LOGITS[None], [None]) is not None
    assert torch.equal(apply_masks(LOGITS[None], [None]), LOGITS[None])
    mixed = apply_masks(LOGITS.expand(2, 4), [None, only({0})])
    assert torch.isneginf(mixed).tolist() == [[False] * 4, [False, True, True, True]]
