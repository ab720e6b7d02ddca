"""Cloning of a demonstrator, who also labels what the policy reaches by itself (DAgger).

L = -sum_bt w_bt log pi_bt over the tokens of the demonstrator's replies, w as loss_norm says: under
token_mean the mean negative log-likelihood of a decision. No reward and no advantage is read.
Source: DAgger, arXiv:1011.0686.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from webshop_rl.algos.algorithm import ActionBatch, Advantages, Algorithm, LossInputs, LossOutput
from webshop_rl.algos.bc.config import BcConfig
from webshop_rl.algos.losses import objective, weighted_nll
from webshop_rl.envs.types import KINDS


@dataclass
class Bc(BcConfig, Algorithm):
    """Maximum likelihood of the labels."""

    needs_teacher = True

    def student_share_at(self, progress: float) -> float:
        """0 up to `student_from` of the run, `student_share` from `student_until` on, a line between."""
        rise = max(self.student_until - self.student_from, 1e-9)
        return self.student_share * min(1.0, max(0.0, (progress - self.student_from) / rise))

    def advantages(self, batch: ActionBatch) -> Advantages:
        """1 at every token that is to be learnt [B, T]."""
        return Advantages(batch.mask.to(batch.behaviour_logprobs.dtype), {})

    def loss(self, inputs: LossInputs) -> LossOutput:
        """The negative log-likelihood plus KL and entropy terms, and how often the policy agrees."""
        nll = weighted_nll(inputs.logprobs, inputs.advantages, inputs.batch.mask)
        output = objective(self, nll, inputs)
        return replace(output, metrics=output.metrics | accuracies(inputs))


def accuracies(inputs: LossInputs) -> dict[str, Tensor]:
    """`accuracy_<kind>`: labelled replies of a kind of which the policy's greedy choice is every token.

    Means over the replies of the whole optimiser batch that leave a choice; a kind without any is left out.
    Raises: ValueError if kinds or greedy choices are missing.
    """
    batch = inputs.batch
    counts = inputs.norm.replies_of_kind
    if batch.kind is None or inputs.greedy is None:
        raise ValueError("accuracies need the kinds of replies and the policy's greedy choices")
    decided = batch.per_turn(batch.decided.long()) > 0
    right = decided & (batch.per_turn((batch.decided & ~inputs.greedy).long()) == 0)
    return {
        f"accuracy_{kind}": (right & (batch.kind == number)).sum().to(torch.float32) / counts[number]
        for number, kind in enumerate(KINDS)
        if counts[number]
    }
