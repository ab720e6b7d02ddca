"""Any algorithm with any of its settings, and batches of random trajectories with what a learner brings."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from webshop_rl.algos.algorithm import ActionBatch, Algorithm, LossInputs, LossOutput
from webshop_rl.algos.apo_pg.loss import ApoPg
from webshop_rl.algos.apo_reg.loss import ApoReg
from webshop_rl.algos.apo_sft.loss import ApoSft
from webshop_rl.algos.apo_square.loss import ApoSquare
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
    name = draw(
        st.sampled_from(["apo_sft", "apo_pg", "apo_reg", "apo_square", "ppo", "grpo", "gigpo", "rloo"])
    )
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
    if name == "apo_square":
        return ApoSquare(name=name, beta=0.5, **vstar, **shared)
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


def case_of(seed: int, algorithm: Algorithm, num_trajectories: int = 5) -> Case:
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


def run(algorithm: Algorithm, case: Case) -> tuple[LossOutput, tuple[Tensor, ...], Tensor]:
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
