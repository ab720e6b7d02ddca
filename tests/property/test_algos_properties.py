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

from tests.support.paths import DOCS
from webshop_rl.algos.algorithm import ActionBatch, Algorithm, LossInputs, LossOutput
from webshop_rl.algos.apo_pg.loss import ApoPg
from webshop_rl.algos.apo_reg.loss import ApoReg
from webshop_rl.algos.apo_sft.loss import ApoSft
from webshop_rl.algos.gigpo.loss import Gigpo
from webshop_rl.algos.grpo.loss import Grpo
from webshop_rl.algos.ppo.loss import Ppo
from webshop_rl.algos.rloo.loss import Rloo
from webshop_rl.training.batching import norm_of

COMMON = {
    "group_size": 2,
    "goals_per_update": 2,
    "adv_std_min": 0.01,
    "loss_divisor_tokens": 7.0,
    "num_minibatches": 1,
}
SFT = {"weight_min": 0.1, "weight_max": 5.0, "awr_beta": 0.5}
PPO = {"value_coef": 0.5, "critic_lr_scale": 10.0}


@st.composite
def algorithms(draw: st.DrawFn) -> Any:
    """One of the algorithms with any of its settings."""
    shared = COMMON | {
        "num_epochs": draw(st.sampled_from([1, 2])),
        "adv_norm": draw(st.sampled_from(["none", "std", "mean_std"])),
        "adv_clip": draw(st.sampled_from([None, 1.0])),
        "loss_norm": draw(st.sampled_from(["trajectory_sum", "token_mean", "constant", "length"])),
        "kl_coef": draw(st.sampled_from([0.0, 0.3])),
        "kl_estimator": draw(st.sampled_from(["k1", "k2", "k3"])),
        "entropy_coef": draw(st.sampled_from([0.0, 0.2])),
    }
    ratio = {
        "clip_eps": 0.2,
        "clip_eps_high": draw(st.sampled_from([None, 0.4])),
        "ratio": draw(st.sampled_from(["token", "sequence", "trajectory"])),
    }
    name = draw(st.sampled_from(["apo_sft", "apo_pg", "apo_reg", "ppo", "grpo", "gigpo", "rloo"]))
    if name == "ppo":
        return Ppo(
            name=name,
            level=draw(st.sampled_from(["turn", "token"])),
            gamma=draw(st.sampled_from([0.9, 1.0])),
            gae_lambda=0.8,
            bootstrap_truncated=draw(st.booleans()),
            value_clip=draw(st.sampled_from([None, 0.2])),
            **PPO,
            **ratio,
            **shared,
        )
    if name == "grpo":
        scale = draw(st.sampled_from(["std", "none"]))
        return Grpo(name=name, scale=scale, std_eps=1e-4, **ratio, **shared)
    if name == "gigpo":
        scale = draw(st.sampled_from(["std", "none"]))
        gamma = draw(st.sampled_from([0.9, 1.0]))
        return Gigpo(name=name, scale=scale, std_eps=1e-4, step_coef=0.7, gamma=gamma, **ratio, **shared)
    if name == "rloo":
        return Rloo(name=name, **ratio, **shared)
    vstar = {"equal_groups": draw(st.sampled_from(["zero", "keep"]))}
    if name == "apo_pg":
        beta2 = draw(st.sampled_from([0.0, 0.1]))
        return ApoPg(name=name, beta2=beta2, policy_coef=0.5, **ratio, **vstar, **shared)
    if name == "apo_reg":
        return ApoReg(name=name, beta2=0.1, **vstar, **shared)
    return ApoSft(
        name=name,
        weight=draw(st.sampled_from(["shifted", "awr"])),
        weight_baseline=draw(st.sampled_from([0.0, 1.0])),
        **SFT,
        **vstar,
        **shared,
    )


class Case:
    """A batch in float64 with all optional inputs, and the learner's side of it."""

    def __init__(self, batch: ActionBatch, logprobs: Tensor, entropy: Tensor, values: Tensor) -> None:
        self.batch, self.logprobs, self.entropy, self.values = batch, logprobs, entropy, values

    def sides(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.logprobs, self.entropy, self.values


def _case(seed: int, algorithm: Algorithm, num_trajectories: int = 5) -> Case:
    g = torch.Generator().manual_seed(seed)
    lengths = [
        torch.randint(1, 4, (int(k),), generator=g)
        for k in torch.randint(1, 4, (num_trajectories,), generator=g)
    ]
    b, k, t = num_trajectories, max(map(len, lengths)), max(int(n.sum()) for n in lengths)
    mask, turn = torch.zeros(b, t, dtype=torch.bool), torch.zeros(b, t, dtype=torch.long)
    turn_mask = torch.zeros(b, k, dtype=torch.bool)
    for row, n in enumerate(lengths):
        mask[row, : int(n.sum())] = True
        turn[row, : int(n.sum())] = torch.repeat_interleave(torch.arange(len(n)), n)
        turn_mask[row, : len(n)] = True
    steps = mask if algorithm.value_level == "token" else turn_mask

    def number(like: Tensor, scale: float = 1.0) -> Tensor:
        return torch.where(like, scale * torch.randn(like.shape, generator=g, dtype=torch.double), 0.0)

    some = torch.ones(b, dtype=torch.bool)
    behaviour = number(mask) - 2
    group = torch.randint(0, 3, (b,), generator=g)
    page = torch.randint(0, 2, (b, k), generator=g)
    batch = ActionBatch(
        behaviour_logprobs=torch.where(mask, behaviour, 0.0),
        mask=mask,
        decision=mask & (torch.rand(mask.shape, generator=g) < 0.6),
        turn=turn,
        rewards=torch.where(turn_mask, (number(turn_mask) * 2).round() / 2, 0.0),
        turn_mask=turn_mask,
        terminated=torch.rand(b, generator=g) < 0.5,
        group=group,
        ref_logprobs=torch.where(mask, behaviour + number(mask, 0.3), 0.0),
        vstar=number(some, 0.3),
        values=number(steps),
        last_value=number(some),
        state=torch.where(turn_mask, 2 * group[:, None] + page, 0),
    )
    learner = torch.where(mask, behaviour + number(mask, 0.2), 0.0)
    return Case(batch, learner, number(mask).abs(), batch.values + number(steps, 0.3))  # type: ignore[operator]


def _run(algorithm: Algorithm, case: Case) -> tuple[LossOutput, tuple[Tensor, ...], Tensor]:
    """Loss, its gradients by logprobs, entropy and values, and the advantages."""
    found = algorithm.advantages(case.batch)
    sides = tuple(x.detach().clone().requires_grad_() for x in case.sides())
    output = algorithm.loss(
        LossInputs(
            sides[0],
            case.batch,
            found.tokens,
            norm_of(case.batch),
            entropy=sides[1],
            values=sides[2],
            value_targets=found.value_targets,
        )
    )
    if output.loss.requires_grad:
        output.loss.backward()
    return output, tuple(torch.zeros_like(x) if x.grad is None else x.grad for x in sides), found.tokens


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
@given(algorithms(), SEED)
def test_whatever_stands_outside_the_mask_changes_nothing(algorithm: Algorithm, seed: int) -> None:
    case = _case(seed, algorithm)
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
        )
        other = Case(
            spoilt,
            spoil(case.logprobs, batch.mask, by),
            spoil(case.entropy, batch.mask, by),
            spoil(case.values, steps, by),
        )
        output, gradients, tokens = _run(algorithm, case)
        output2, gradients2, tokens2 = _run(algorithm, other)
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
    case = _case(seed, algorithm)
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
    output, gradients, advantages = _run(algorithm, case)
    output2, gradients2, advantages2 = _run(algorithm, other)
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
    case = _case(seed, algorithm)
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
    output, gradients, _ = _run(algorithm, forced)
    output2, gradients2, _ = _run(algorithm, _without_forced(forced))
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
    case, index = _case(seed, algorithm), torch.tensor(order)
    other = Case(case.batch.select(index), *(x[index] for x in case.sides()))
    output, gradients, advantages = _run(algorithm, case)
    output2, gradients2, advantages2 = _run(algorithm, other)
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
    case = _case(seed, algorithm)
    found, norm = algorithm.advantages(case.batch), norm_of(case.batch)
    whole, _, _ = _run(algorithm, case)
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
    case = _case(seed, algorithm)
    found = algorithm.advantages(case.batch)
    output, _, _ = _run(algorithm, case)
    assert all(type(v) is float and math.isfinite(v) for v in found.metrics.values())
    assert all(not v.requires_grad and v.shape == () and v.isfinite() for v in output.metrics.values())
    assert not found.tokens.requires_grad


DOC = (DOCS / "algorithms.md").read_text(encoding="utf-8")


@settings(max_examples=60, deadline=None)
@given(algorithms(), SEED)
def test_every_metric_is_explained(algorithm: Algorithm, seed: int) -> None:
    """By its name, or with the mean of the same number."""
    case = _case(seed, algorithm)
    output, _, _ = _run(algorithm, case)
    for name in (algorithm.advantages(case.batch).metrics | output.metrics).keys() - {"loss"}:
        stem = re.sub("_(std|min|max)$", "_mean", name)
        assert f"`{name}`" in DOC or f"`{stem}`, `_std`, `_min`, `_max`" in DOC, name


def test_the_spoilt_batch_spoils_every_field_there_is() -> None:
    """A new field of ActionBatch must be thought of in the tests above."""
    assert {f.name for f in fields(ActionBatch)} == {
        *("behaviour_logprobs", "mask", "decision", "turn", "rewards", "turn_mask", "terminated", "group"),
        *("ref_logprobs", "vstar", "values", "last_value", "state"),
        "kind",  # read by bc's accuracies alone: tests/unit/algos/test_bc.py
    }
