"""What an algorithm is: what it sees of a batch of trajectories, what it gives, and what it needs.

It sees action tokens only. Axes: B trajectories, T action tokens (all turns of a trajectory, in order),
K turns.

    transcript   prompt  page0 | s e a r c h [ red ] <eos> | page1 | c l i c k [ 1 ] <eos> | page2
    action mask  0 ....... 0     1 1 1 ...         1   1      0..0    1 ...            1      0
    decision     0 ....... 0     1 0 0 ...         0   1      0..0    1 ...            0      0
    here         the 1s only, packed to the left:  [B, T];  turn = 0 0 0 ... 0  1 1 1 ... 1

An algorithm inherits its settings (the dataclass of its config.py) and Algorithm; the loop around it is the
same for all.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from torch import Tensor

from webshop_rl.algos.config import check_fields
from webshop_rl.config.groups import AlgoConfig


@dataclass(frozen=True)
class ActionBatch:
    """A batch of trajectories reduced to their action tokens, padded on the right.

    Attributes:
        behaviour_logprobs: [B, T] log-probs under the policy that sampled, nats; 0 at padding.
        mask: [B, T] bool, True at action tokens (end-of-reply token included).
        decision: [B, T] bool, True at action tokens where more than one token was admissible; the
            others are forced, have log-prob 0 under every policy and teach nothing.
        turn: [B, T] long, index of the token's turn in 0..K-1; 0 at padding.
        rewards: [B, K] reward of each turn, penalties for invalid actions included; 0 at padding.
        turn_mask: [B, K] bool, True where a turn exists; at least one a trajectory.
        terminated: [B] bool, True if the episode ended by itself, False if it was truncated.
        group: [B] long, trajectories of the same goal under one policy version share a number.
        ref_logprobs: [B, T] log-probs under the reference policy, or None if not asked for.
        vstar: [B] V* of the trajectory's goal, return units, or None if not asked for.
        values: [B, K] critic's V before each turn, as of the collection, or None if not asked for;
            [B, T], V before each action token, for an algorithm whose value_level is "token".
        last_value: [B] critic's V of the final page (what truncation may bootstrap from), or None.
        kind: [B, K] long, what kind of decision each turn's reply is, an index in envs.types.KINDS; or None.
        state: [B, K] long, turns of a group that replied to identical pages share a number; 0 at padding;
            or None if not asked for.
        replayed: [B] bool, True where an earlier policy sampled the trajectory (collection.replay_best); None
            where none is.
        policy_logprobs: [B, T] log-probs under the policy as of the collection, where trajectories are
            replayed or another engine sampled; None where it is the behaviour policy of all.
        sampler_weights: [B, T] truncated importance weights of tokens that another engine sampled
            (algos/importance.py), 1 where they need none; None where the learner's own network sampled.
    """

    behaviour_logprobs: Tensor
    mask: Tensor
    decision: Tensor
    turn: Tensor
    rewards: Tensor
    turn_mask: Tensor
    terminated: Tensor
    group: Tensor
    ref_logprobs: Tensor | None = None
    vstar: Tensor | None = None
    values: Tensor | None = None
    last_value: Tensor | None = None
    kind: Tensor | None = None
    state: Tensor | None = None
    replayed: Tensor | None = None
    policy_logprobs: Tensor | None = None
    sampler_weights: Tensor | None = None

    @property
    def at_collection(self) -> Tensor:
        """[B, T] log-probs under the policy as of the collection, whoever sampled."""
        return self.behaviour_logprobs if self.policy_logprobs is None else self.policy_logprobs

    @property
    def own(self) -> Tensor:
        """[B] bool, True where the policy played the trajectory itself."""
        return torch.ones_like(self.terminated) if self.replayed is None else ~self.replayed

    @property
    def decided(self) -> Tensor:
        """[B, T] bool, True at decisions and nowhere else."""
        return self.mask & self.decision

    @property
    def returns(self) -> Tensor:
        """[B] undiscounted sum of the turns' rewards."""
        return masked(self.rewards, self.turn_mask).sum(dim=1)

    def per_turn(self, x: Tensor) -> Tensor:
        """[B, T] to [B, K]: sums over the action tokens of each turn."""
        sums = torch.zeros(self.turn_mask.shape, dtype=x.dtype, device=x.device)
        return sums.scatter_add_(1, torch.where(self.mask, self.turn, 0), masked(x, self.mask))

    def select(self, index: Tensor) -> ActionBatch:
        """The trajectories at index ([b] long), padding kept as it is."""
        picked = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v[index] for k, v in picked.items() if v is not None})


@dataclass(frozen=True)
class Norm:
    """Sizes of the whole optimiser batch, so that micro-batch losses add up to the batch's loss."""

    num_trajectories: int
    num_tokens: int
    num_decisions: int
    num_turns: int
    num_replayed_decisions: int = 0  # of replayed trajectories, in num_decisions
    replies_of_kind: tuple[
        int, ...
    ] = ()  # replies with a decision, by their kind as envs.types.KINDS has them


@dataclass(frozen=True)
class Advantages:
    """Per-token advantages [B, T] (detached, 0 at padding) and scalars worth logging."""

    tokens: Tensor
    metrics: dict[str, float]
    value_targets: Tensor | None = None  # shaped like ActionBatch.values, for a critic


@dataclass(frozen=True)
class LossInputs:
    """What the loss of a micro-batch is made of: b of the batch's B trajectories.

    Attributes:
        logprobs: [b, T] learner's log-probs of the action tokens, nats, with gradient.
        batch: the micro-batch.
        advantages: [b, T] the matching rows of Advantages.tokens.
        norm: sizes of the whole optimiser batch.
        entropy: [b, T] the policy's at each action token, nats, with gradient; None if not needed.
        values: critic's current values with gradient, [b, K], or [b, T] at value_level "token"; or None.
        value_targets: the matching rows of Advantages.value_targets, shaped like values; or None.
        greedy: [b, T] bool, True at decisions where the policy has no likelier token; or None.
    """

    logprobs: Tensor
    batch: ActionBatch
    advantages: Tensor
    norm: Norm
    entropy: Tensor | None = None
    values: Tensor | None = None
    value_targets: Tensor | None = None
    greedy: Tensor | None = None


@dataclass(frozen=True)
class LossOutput:
    """A micro-batch's share of the loss, already divided by the whole batch's Norm.

    Attributes:
        loss: scalar with gradient; shares of the micro-batches of a batch add up.
        metrics: scalars (detached) that add up over micro-batches in the same way.
    """

    loss: Tensor
    metrics: dict[str, Tensor]


class Algorithm(AlgoConfig):
    """Advantages + loss + schedule; the settings are its fields.

    Raises: UserError, as it is made, for a setting that is missing or out of range.
    """

    needs_vstar: ClassVar[bool] = False  # V* of each trajectory's goal
    needs_critic: ClassVar[bool] = False  # a value head, and its values
    needs_teacher: ClassVar[bool] = False  # collections labelled by a demonstrator
    needs_states: ClassVar[bool] = False  # numbers of the pages that turns replied to

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def needs_reference(self) -> bool:
        """Whether the reference policy's log-probs are read."""
        return self.kl_coef > 0

    @property
    def needs_entropy(self) -> bool:
        """Whether the loss reads the entropy of the policy."""
        return self.entropy_coef > 0

    def student_share_at(self, progress: float) -> float:
        """The share of a labelled collection's episodes that the policy plays itself.

        Args:
            progress: updates done over updates planned.
        """
        return 0.0

    @property
    def value_level(self) -> str:
        """Where a critic is asked for V: "turn", before each turn (values [B, K]), or "token" ([B, T])."""
        return "turn"

    def advantages(self, batch: ActionBatch) -> Advantages:
        """Advantages of a whole collection; a pure function of the batch."""
        raise NotImplementedError

    def loss(self, inputs: LossInputs) -> LossOutput:
        """The loss of one micro-batch, with gradient."""
        raise NotImplementedError


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """x with everything outside the mask set to 0, NaN included (NaN * 0 would stay NaN)."""
    return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))
