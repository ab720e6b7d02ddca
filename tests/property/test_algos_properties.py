"""What holds of every algorithm under every setting: masks, padding, order, micro-batches."""

from __future__ import annotations

import math
import re
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.algorithm_cases import Case, algorithms, case_of, run
from tests.support.paths import DOCS
from webshop_rl.algos.algorithm import ActionBatch, Algorithm, LossInputs, LossOutput
from webshop_rl.training.batching import norm_of


def _close(a: Any, b: Any) -> bool:
    return torch.allclose(torch.as_tensor(a).double(), torch.as_tensor(b).double(), rtol=1e-9, atol=1e-11)


def _same_output(a: LossOutput, b: LossOutput) -> None:
    assert _close(a.loss, b.loss)
    assert a.metrics.keys() == b.metrics.keys()
    for name, value in a.metrics.items():
        assert _close(value, b.metrics[name]), name


SEED = st.integers(0, 10_000)
PER_DECISION = ("nll", "kl", "entropy", "ratio_mean", "ratio_clipped_frac", "kl_behaviour")
pytestmark = pytest.mark.filterwarnings("error")


@settings(max_examples=80, deadline=None)
@given(algorithms(), SEED, st.booleans())
def test_whatever_stands_outside_the_mask_changes_nothing(
    algorithm: Algorithm, seed: int, replays: bool
) -> None:
    case = case_of(seed, algorithm)
    if replays:
        own = torch.arange(len(case.batch.group)) % 3 > 0
        now = torch.where(case.batch.mask, case.batch.behaviour_logprobs - 0.1, 0.0)
        case.batch = replace(case.batch, replayed=~own, policy_logprobs=now)
    batch = case.batch
    steps = batch.mask if algorithm.value_level == "token" else batch.turn_mask

    def spoil(x: Tensor | None, mask: Tensor, by: float) -> Tensor:
        assert x is not None
        return torch.where(mask, x, by)

    for by in (math.nan, math.inf, 1e30):
        spoilt = replace(
            batch,
            behaviour_logprobs=spoil(batch.behaviour_logprobs, batch.mask, by),
            ref_logprobs=spoil(batch.ref_logprobs, batch.mask, by),
            rewards=spoil(batch.rewards, batch.turn_mask, by),
            values=spoil(batch.values, steps, by),
            last_value=spoil(batch.last_value, ~batch.terminated, by),
            turn=torch.where(batch.mask, batch.turn, 10**6),
            decision=batch.decision | ~batch.mask,
            state=torch.where(batch.turn_mask, batch.state, 10**6),  # type: ignore[arg-type]
            policy_logprobs=spoil(batch.policy_logprobs, batch.mask, by) if replays else None,
        )
        other = Case(
            spoilt,
            spoil(case.logprobs, batch.mask, by),
            spoil(case.entropy, batch.mask, by),
            spoil(case.values, steps, by),
        )
        output, gradients, tokens = run(algorithm, case)
        output2, gradients2, tokens2 = run(algorithm, other)
        assert torch.equal(tokens, tokens2)
        assert torch.equal(output.loss, output2.loss)
        for mask, g1, g2 in zip((batch.mask, batch.mask, steps), gradients, gradients2, strict=True):
            assert torch.equal(g1, g2)
            assert (g2[~mask] == 0).all()
        assert (tokens[~batch.mask] == 0).all()
        assert algorithm.advantages(batch).metrics == algorithm.advantages(spoilt).metrics


def _padded(x: Tensor, columns: int) -> Tensor:
    return torch.cat([x, torch.zeros(x.shape[0], columns, dtype=x.dtype)], dim=1)


@settings(max_examples=60, deadline=None)
@given(algorithms(), SEED, st.integers(0, 3), st.integers(0, 2))
def test_padding_changes_nothing(algorithm: Algorithm, seed: int, tokens: int, turns: int) -> None:
    case = case_of(seed, algorithm)
    b = case.batch
    more = tokens if algorithm.value_level == "token" else turns
    assert b.ref_logprobs is not None
    assert b.values is not None
    assert b.state is not None
    wide = replace(
        b,
        behaviour_logprobs=_padded(b.behaviour_logprobs, tokens),
        mask=_padded(b.mask, tokens),
        decision=_padded(b.decision, tokens),
        turn=_padded(b.turn, tokens),
        ref_logprobs=_padded(b.ref_logprobs, tokens),
        rewards=_padded(b.rewards, turns),
        turn_mask=_padded(b.turn_mask, turns),
        state=_padded(b.state, turns),
        values=_padded(b.values, more),
    )
    other = Case(
        wide, _padded(case.logprobs, tokens), _padded(case.entropy, tokens), _padded(case.values, more)
    )
    output, gradients, advantages = run(algorithm, case)
    output2, gradients2, advantages2 = run(algorithm, other)
    _same_output(output, output2)
    assert _close(_padded(advantages, tokens), advantages2)
    for g, g2, columns in zip(gradients, gradients2, (tokens, tokens, more), strict=True):
        assert _close(_padded(g, columns), g2)


def _without_forced(case: Case) -> Case:
    """The same trajectories as if their forced tokens had not been there (each keeps a token)."""
    b = case.batch
    order = torch.argsort((~b.decision).int(), dim=1, stable=True)
    mask = b.decision.gather(1, order)
    logprobs, entropy = (torch.where(mask, x.gather(1, order), 0.0) for x in (case.logprobs, case.entropy))
    assert b.ref_logprobs is not None
    batch = replace(
        b,
        behaviour_logprobs=torch.where(mask, b.behaviour_logprobs.gather(1, order), 0.0),
        ref_logprobs=torch.where(mask, b.ref_logprobs.gather(1, order), 0.0),
        mask=mask,
        decision=mask,
        turn=torch.where(mask, b.turn.gather(1, order), 0),
    )
    return Case(batch, logprobs, entropy, case.values)


@settings(max_examples=80, deadline=None)
@given(algorithms(), SEED)
def test_forced_tokens_dilute_nothing(algorithm: Any, seed: int) -> None:
    """A forced token has log-prob and entropy 0 under every policy: per decision all is as without it."""
    assume(algorithm.value_level == "turn")  # over tokens a critic reads before forced ones too
    case = case_of(seed, algorithm)
    decided, b = case.batch.decision, case.batch
    assert b.ref_logprobs is not None
    forced = Case(
        replace(
            b,
            behaviour_logprobs=torch.where(decided, b.behaviour_logprobs, 0.0),
            ref_logprobs=torch.where(decided, b.ref_logprobs, 0.0),
        ),
        torch.where(decided, case.logprobs, 0.0),
        torch.where(decided, case.entropy, 0.0),
        case.values,
    )
    output, gradients, _ = run(algorithm, forced)
    output2, gradients2, _ = run(algorithm, _without_forced(forced))
    for name in PER_DECISION:
        assert (name in output.metrics) == (name in output2.metrics)
        if name in output.metrics:
            assert _close(output.metrics[name], output2.metrics[name]), name
    if algorithm.loss_norm == "token_mean":
        _same_output(output, output2)
    if algorithm.loss_norm != "length":
        order = torch.argsort((~decided).int(), dim=1, stable=True)
        kept = decided.gather(1, order)
        assert _close(torch.where(kept, gradients[0].gather(1, order), 0.0), gradients2[0])


@settings(max_examples=60, deadline=None)
@given(algorithms(), SEED, st.permutations(range(5)))
def test_the_order_of_trajectories_changes_nothing(algorithm: Algorithm, seed: int, order: list[int]) -> None:
    case, index = case_of(seed, algorithm), torch.tensor(order)
    other = Case(case.batch.select(index), *(x[index] for x in case.sides()))
    output, gradients, advantages = run(algorithm, case)
    output2, gradients2, advantages2 = run(algorithm, other)
    # The clip asks an advantage's sign, which rounding decides where the advantage is 0 but for rounding.
    assume(not ((advantages != 0) & (advantages.abs() < 1e-12)).any())
    assume(not ((advantages2 != 0) & (advantages2.abs() < 1e-12)).any())
    _same_output(output, output2)
    assert _close(advantages[index], advantages2)
    for g, g2 in zip(gradients, gradients2, strict=True):
        assert _close(g[index], g2)
    first, second = algorithm.advantages(case.batch).metrics, algorithm.advantages(other.batch).metrics
    assert first.keys() == second.keys()
    assert all(_close(first[name], second[name]) for name in first)


@settings(max_examples=60, deadline=None)
@given(algorithms(), SEED, st.integers(1, 4))
def test_shares_of_micro_batches_add_up(algorithm: Algorithm, seed: int, cut: int) -> None:
    case = case_of(seed, algorithm)
    found, norm = algorithm.advantages(case.batch), norm_of(case.batch)
    whole, _, _ = run(algorithm, case)
    shares = []
    for index in (torch.arange(cut), torch.arange(cut, 5)):
        targets = None if found.value_targets is None else found.value_targets[index]
        logprobs, entropy, values = (x[index] for x in case.sides())
        shares.append(
            algorithm.loss(
                LossInputs(
                    logprobs,
                    case.batch.select(index),
                    found.tokens[index],
                    norm,
                    entropy=entropy,
                    values=values,
                    value_targets=targets,
                )
            )
        )
    first, second = shares
    summed = {name: first.metrics[name] + second.metrics[name] for name in first.metrics}
    _same_output(whole, LossOutput(first.loss + second.loss, summed))


@settings(max_examples=60, deadline=None)
@given(algorithms(), SEED)
def test_metrics_are_finite_plain_numbers(algorithm: Algorithm, seed: int) -> None:
    case = case_of(seed, algorithm)
    found = algorithm.advantages(case.batch)
    output, _, _ = run(algorithm, case)
    assert all(type(v) is float and math.isfinite(v) for v in found.metrics.values())
    assert all(not v.requires_grad and v.shape == () and v.isfinite() for v in output.metrics.values())
    assert not found.tokens.requires_grad


DOC = (DOCS / "algorithms.md").read_text(encoding="utf-8")


@settings(max_examples=60, deadline=None)
@given(algorithms(), SEED)
def test_every_metric_is_explained(algorithm: Algorithm, seed: int) -> None:
    """By its name, or with the mean of the same number."""
    case = case_of(seed, algorithm)
    output, _, _ = run(algorithm, case)
    for name in (algorithm.advantages(case.batch).metrics | output.metrics).keys() - {"loss"}:
        stem = re.sub("_(std|min|max)$", "_mean", name)
        assert f"`{name}`" in DOC or f"`{stem}`, `_std`, `_min`, `_max`" in DOC, name


def test_the_spoilt_batch_spoils_every_field_there_is() -> None:
    """A new field of ActionBatch must be thought of in the tests above."""
    assert {f.name for f in fields(ActionBatch)} == {
        *("behaviour_logprobs", "mask", "decision", "turn", "rewards", "turn_mask", "terminated", "group"),
        *("ref_logprobs", "vstar", "values", "last_value", "state", "replayed", "policy_logprobs"),
        "sampler_weights",  # 1 outside the mask: tests/unit/algos/test_importance.py
        "kind",  # read by bc's accuracies alone: tests/unit/algos/test_bc.py
    }
