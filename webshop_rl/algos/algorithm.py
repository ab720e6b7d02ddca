"""What an algorithm is: advantages, a loss and what they need. The loop around them is the same for all.

An algorithm inherits its settings (a dataclass of config.py) and one of the classes here, and says what
differs: Algorithm itself, or PolicyGradient, whose loss is there and which lacks the advantages.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from webshop_rl.algos.batch import ActionBatch, Advantages, LossInputs, LossOutput
from webshop_rl.algos.config import check_fields
from webshop_rl.algos.objective import objective, ratio_metrics
from webshop_rl.algos.policy_losses import clipped_surrogate, weighted_nll
from webshop_rl.config.groups import AlgoConfig


class Algorithm(AlgoConfig):
    """Advantages + loss + schedule; the settings are its fields.

    Raises: UserError, as it is made, for a setting that is missing or out of range.
    """

    needs_vstar: ClassVar[bool] = False  # V* of each trajectory's goal
    needs_critic: ClassVar[bool] = False  # a value head, and its values

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


class PolicyGradient(Algorithm):
    """-A log pi where a collection serves one update, else the clipped surrogate; KL and entropy terms.

    With one update no ratio is taken: it is 1 but for the noise between sampler and learner, which would
    only scale tokens.
    """

    clip_eps: float

    def loss(self, inputs: LossInputs) -> LossOutput:
        """The policy gradient plus KL and entropy terms."""
        logprobs, batch = inputs.logprobs, inputs.batch
        if self.one_update:
            return objective(self, weighted_nll(logprobs, inputs.advantages, batch.mask), inputs)
        surrogate = clipped_surrogate(
            logprobs, batch.behaviour_logprobs, inputs.advantages, batch.mask, self.clip_eps
        )
        output = objective(self, surrogate.loss, inputs)
        return replace(output, metrics=output.metrics | ratio_metrics(surrogate, inputs))
