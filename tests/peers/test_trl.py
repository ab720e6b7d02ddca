"""Losses and gradients of TRL 1.16 on the same tensors (make test-peers).

TRL has single turns: a trajectory is one turn of up to six tokens, every token a decision. Gradients are by
the policy's logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("trl", reason="needs TRL: make test-peers")

from tests.support.algorithms import algo_settings
from tests.support.trl_stand_ins import Scored, a2po_loss, grpo, loss_of, rloo, scored_completions
from webshop_rl.algos.algorithm import ActionBatch, Algorithm, LossInputs, Norm
from webshop_rl.algos.apo_reg.loss import ApoReg
from webshop_rl.algos.grpo.loss import Grpo
from webshop_rl.algos.ppo.loss import Ppo
from webshop_rl.algos.rloo.loss import Rloo

D = torch.double
GROUP_SIZE = 4
LENGTHS = [6, 3, 5, 1, 4, 6, 2, 5]
NUM = len(LENGTHS)
TOKENS = max(LENGTHS)
VOCABULARY = 7
SEEDS = [0, 1, 2]
CLIP = {"clip_eps": 0.2, "clip_eps_high": 0.28}
TRL_CLIP = {"epsilon": 0.2, "epsilon_high": 0.28}
TRL_SCALE = {"std": "group", "none": "none"}


@dataclass
class Case:
    """Logits of three policies [B, T, V], tokens and mask [B, T], returns and V* [B]."""

    logits: Tensor
    behaviour: Tensor
    reference: Tensor
    tokens: Tensor
    mask: Tensor
    returns: Tensor
    vstar: Tensor

    def scored(self, logits: Tensor) -> Scored:
        logs = logits.log_softmax(-1)
        return Scored(logs.gather(-1, self.tokens[..., None]).squeeze(-1), -(logs.exp() * logs).sum(-1))

    def batch(self, **change: Any) -> ActionBatch:
        whole: dict[str, Any] = {
            "behaviour_logprobs": self.scored(self.behaviour).logprobs,
            "ref_logprobs": self.scored(self.reference).logprobs,
            "mask": self.mask,
            "decision": self.mask,
            "turn": torch.zeros(NUM, TOKENS, dtype=torch.long),
            "rewards": self.returns[:, None],
            "turn_mask": torch.ones(NUM, 1, dtype=torch.bool),
            "terminated": torch.ones(NUM, dtype=torch.bool),
            "group": torch.arange(NUM) // GROUP_SIZE,
            "vstar": self.vstar,
        }
        return ActionBatch(**(whole | change))


def _case(seed: int, moved: float = 0.3) -> Case:
    """A policy that has moved so far from its sampler, and a reference a little further off."""
    g = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=D)

    behaviour = random(NUM, TOKENS, VOCABULARY)
    return Case(
        logits=(behaviour + moved * random(NUM, TOKENS, VOCABULARY)).requires_grad_(),
        behaviour=behaviour,
        reference=behaviour + 0.5 * random(NUM, TOKENS, VOCABULARY),
        tokens=torch.randint(0, VOCABULARY, (NUM, TOKENS), generator=g),
        mask=torch.arange(TOKENS) < torch.tensor(LENGTHS)[:, None],
        returns=random(NUM),
        vstar=random(NUM),
    )


def _ours(algorithm: Algorithm, case: Case, advantages: Tensor | None = None, **change: Any) -> Tensor:
    """Our loss; advantages are the algorithm's own where none are given."""
    policy = case.scored(case.logits)
    batch = case.batch(**change)
    if advantages is None:
        advantages = algorithm.advantages(batch).tokens
    norm = Norm(num_trajectories=NUM, num_tokens=sum(LENGTHS), num_decisions=sum(LENGTHS), num_turns=NUM)
    values = torch.zeros(NUM, 1, dtype=D)
    inputs = LossInputs(
        policy.logprobs, batch, advantages, norm, entropy=policy.entropy, values=values, value_targets=values
    )
    return algorithm.loss(inputs).loss


def _agree(case: Case, ours: Tensor, theirs: Tensor, *, value: bool = True) -> None:
    """To 1e-5 of the larger, in the loss and in every entry of its gradient."""
    (ours_slope,) = torch.autograd.grad(ours, case.logits, retain_graph=True)
    (theirs_slope,) = torch.autograd.grad(theirs, case.logits, retain_graph=True)
    assert theirs_slope.abs().max() > 1e-3
    assert torch.allclose(
        ours_slope, theirs_slope.to(D), rtol=1e-5, atol=1e-5 * float(theirs_slope.abs().max())
    )
    if value:
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scale", ["none", "std"])
@pytest.mark.parametrize(
    ("loss_norm", "loss_type"),
    [("length", "grpo"), ("token_mean", "bnpo"), ("constant", "dr_grpo"), ("trajectory_sum", "luspo")],
)
def test_grpo(tmp_path: Path, seed: int, scale: str, loss_norm: str, loss_type: str) -> None:
    """Advantages, clip, KL by k3; a length mean of one turn is a mean per completion."""
    case = _case(seed)
    theirs = grpo(
        str(tmp_path), loss_type=loss_type, beta=0.1, num_generations=GROUP_SIZE,
        max_completion_length=TOKENS, per_device_train_batch_size=NUM, scale_rewards=TRL_SCALE[scale],
        use_bias_correction_kl=False, **TRL_CLIP,
    )  # fmt: skip
    inputs = scored_completions(
        theirs, case.scored(case.behaviour), case.scored(case.reference), LENGTHS, case.returns
    )
    assert torch.equal(inputs["completion_mask"].bool(), case.mask)

    # TRL divides by the spread with ddof 1 plus 1e-4, we by that with ddof 0.
    ddof = (GROUP_SIZE / (GROUP_SIZE - 1)) ** 0.5
    shared = {"num_epochs": 2, "loss_norm": loss_norm, "loss_divisor_tokens": TOKENS, "kl_coef": 0.1, **CLIP}
    ours = Grpo(**algo_settings("grpo", scale=scale, std_eps=1e-4 / ddof, **shared))
    found = ours.advantages(case.batch()).tokens
    factor = ddof if scale == "std" else 1.0
    assert torch.allclose(found[:, 0], factor * inputs["advantages"].to(D), atol=1e-6)
    inputs["advantages"] = found[:, 0]
    _agree(case, _ours(ours, case), loss_of(theirs, case.scored(case.logits), inputs))
    assert theirs._metrics["train"]["clip_ratio/region_mean"][0] > 0.05


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("loss_norm", "loss_type"), [("length", "grpo"), ("trajectory_sum", "luspo")])
def test_the_ratio_of_a_sequence(tmp_path: Path, seed: int, loss_norm: str, loss_type: str) -> None:
    """GSPO."""
    case = _case(seed)
    narrow = {"clip_eps": 0.03, "clip_eps_high": 0.04}
    theirs = grpo(
        str(tmp_path), loss_type=loss_type, beta=0.0, num_generations=GROUP_SIZE, epsilon=0.03,
        epsilon_high=0.04, per_device_train_batch_size=NUM, scale_rewards="none",
        importance_sampling_level="sequence",
    )  # fmt: skip
    inputs = scored_completions(
        theirs, case.scored(case.behaviour), case.scored(case.reference), LENGTHS, case.returns
    )
    ours = Grpo(
        **algo_settings("grpo", scale="none", num_epochs=2, loss_norm=loss_norm, ratio="sequence", **narrow)
    )
    _agree(case, _ours(ours, case), loss_of(theirs, case.scored(case.logits), inputs))
    assert theirs._metrics["train"]["clip_ratio/region_mean"][0] > 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_the_policy_term_of_ppo_and_the_entropy_bonus(tmp_path: Path, seed: int) -> None:
    """An advantage a token, which TRL's loss takes for subclasses."""
    case = _case(seed)
    theirs = grpo(
        str(tmp_path), loss_type="bnpo", beta=0.0, num_generations=GROUP_SIZE, entropy_coef=0.05,
        per_device_train_batch_size=NUM, **TRL_CLIP,
    )  # fmt: skip
    inputs = scored_completions(
        theirs, case.scored(case.behaviour), case.scored(case.reference), LENGTHS, case.returns
    )
    advantages = torch.randn(NUM, TOKENS, generator=torch.Generator().manual_seed(seed), dtype=D)
    inputs["advantages"] = advantages
    ours = Ppo(**algo_settings("ppo", value_coef=0.0, entropy_coef=0.05, **CLIP))
    values = torch.zeros(NUM, 1, dtype=D)
    _agree(
        case,
        _ours(ours, case, torch.where(case.mask, advantages, 0.0), values=values),
        loss_of(theirs, case.scored(case.logits), inputs),
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_rloo(tmp_path: Path, seed: int) -> None:
    """TRL has one ratio a completion, a product; its loss is a mean over completions."""
    theirs = rloo(
        str(tmp_path), beta=0.0, num_generations=GROUP_SIZE, per_device_train_batch_size=NUM, **TRL_CLIP
    )
    for moved in (0.0, 0.1):
        case = _case(seed, moved)
        inputs = scored_completions(
            theirs, case.scored(case.behaviour), case.scored(case.reference), LENGTHS, case.returns
        )
        later = Rloo(**algo_settings("rloo", num_epochs=2, ratio="trajectory", **CLIP))
        found = later.advantages(case.batch()).tokens
        assert torch.allclose(found[:, 0], inputs["advantages"].to(D), atol=1e-6)
        their_loss = loss_of(theirs, case.scored(case.logits), inputs)
        # Ours is a sum of the tokens' terms, each of that value: its gradient is TRL's, its mean TRL's value.
        _agree(case, _ours(later, case), their_loss, value=False)
        mean = Rloo(**algo_settings("rloo", num_epochs=2, ratio="trajectory", loss_norm="length", **CLIP))
        assert _ours(mean, case).item() == pytest.approx(their_loss.item(), rel=1e-5)
        if moved == 0.0:
            _agree(case, _ours(Rloo(**algo_settings("rloo")), case), their_loss, value=False)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("beta2", [1e-3, 0.3])
@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_apo_reg(tmp_path: Path, seed: int, beta2: float, moved: float) -> None:
    """Log-probs, their sums, and the regression; at the sampler and away from it."""
    case = _case(seed, moved)
    theirs = a2po_loss(
        str(tmp_path), beta2, case.logits, case.reference, case.tokens, case.mask, case.returns, case.vstar
    )
    ours = _ours(ApoReg(**algo_settings("apo_reg", beta2=beta2)), case)
    scaled = 1 / (2 * beta2)  # the gradient is of the order of beta2
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    _agree(case, scaled * ours, scaled * theirs)
