"""TRL's trainers without what surrounds their losses: its methods run as they are, on tensors given to them.

A whole trainer wants a checkpoint, a tokenizer and a dataset, and would bring tensors of its own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.experimental.a2po import A2POConfig, A2POTrainer


@dataclass(frozen=True)
class Scored:
    """What a policy says of the sampled tokens, in place of a model.

    Attributes:
        logprobs: [B, T] nats.
        entropy: [B, T] nats.
    """

    logprobs: Tensor
    entropy: Tensor
    training: bool = True
    is_gradient_checkpointing: bool = False


def _alone() -> Any:
    """accelerate's part where there is one process."""
    return SimpleNamespace(
        device=torch.device("cpu"),
        process_index=0,
        num_processes=1,
        sync_gradients=True,
        gather=lambda x: x,
        gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction: x,
    )


def _stand_in(trainer: type, config: Any, **given: Any) -> Any:
    """A trainer that has what is given, else what its configuration says, else None."""

    def of_config(self: Any, name: str) -> Any:
        return getattr(vars(self)["args"], name, None)

    made: Any = object.__new__(type("StandIn", (trainer,), {"__getattr__": of_config}))
    vars(made).update(
        args=config,
        accelerator=_alone(),
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        _logs=defaultdict(list, rewards=defaultdict(list), extra=defaultdict(list)),
        _pending_extra_logs={},
        _pending_metrics={},
        **given,
    )
    return made


def _group_trainer(trainer: type, config: Any, settings: dict[str, Any]) -> Any:
    def scored(model: Scored, *_: Any, **__: Any) -> tuple[Tensor, Tensor, None]:
        return model.logprobs, model.entropy, None

    high = settings.get("epsilon_high")
    return _stand_in(
        trainer,
        config,
        epsilon_low=config.epsilon,
        epsilon_high=config.epsilon if high is None else high,
        current_gradient_accumulation_steps=1,
        reward_funcs=[None],
        reward_func_names=["return"],
        reward_weights=torch.ones(1, dtype=torch.double),
        _entropy_bonus_enabled=bool(settings.get("entropy_coef")),
        _tokenizer=SimpleNamespace(pad_token_id=0),
        _get_per_token_logps_and_entropies=scored,
    )


def grpo(folder: str, **settings: Any) -> Any:
    """TRL's GRPO; two passes over a collection, so that the sampler's log-probs are kept."""
    base = {"output_dir": folder, "use_cpu": True, "bf16": False, "report_to": "none", "num_iterations": 2}
    return _group_trainer(GRPOTrainer, GRPOConfig(**base, **settings), settings)


def rloo(folder: str, **settings: Any) -> Any:
    """TRL's RLOO."""
    base = {"output_dir": folder, "use_cpu": True, "bf16": False, "report_to": "none", "num_iterations": 2}
    return _group_trainer(RLOOTrainer, RLOOConfig(**base, **settings), settings)


def scored_completions(
    trainer: Any, sampler: Scored, reference: Scored, lengths: list[int], returns: Tensor
) -> dict[str, Any]:
    """What TRL's loss is given of a collection: its advantages, masks and log-probs.

    Args:
        lengths: B, tokens of each completion.
        returns: [B] float64.
    """
    completions = [[1] * length for length in lengths]
    prompts = [[1]] * len(lengths)
    made: tuple[Any, ...] = (prompts, completions, None, completions, None, {}, None, None)
    if isinstance(trainer, RLOOTrainer):
        made = (prompts, completions, completions)
    vars(trainer).update(
        model=sampler,
        ref_model=reference,
        _generate=lambda _: made,
        _calculate_rewards=lambda *_: returns[:, None].clone(),
    )
    found: dict[str, Any] = trainer._generate_and_score_completions([{"prompt": "goal"}] * len(lengths))
    return found


def loss_of(trainer: Any, policy: Scored, inputs: dict[str, Any]) -> Tensor:
    """TRL's loss of a policy on such inputs, with gradient."""
    vars(trainer)["model"] = policy
    loss: Tensor = trainer._compute_loss(policy, inputs)
    return loss


def a2po_loss(
    folder: str, beta2: float, logits: Tensor, ref_logits: Tensor, tokens: Tensor, mask: Tensor,
    returns: Tensor, vstar: Tensor,
) -> Tensor:  # fmt: skip
    """TRL's A*PO loss, its log-probs included.

    Args:
        logits, ref_logits: [B, T, V] of policy and reference at the tokens' places.
        tokens: [B, T] long.
        mask: [B, T] bool.
        returns, vstar: [B].
    """

    def model(of: Tensor) -> Any:
        # One token of prompt; the last logits predict what follows the reply and are dropped.
        padded = torch.cat([of, of[:, :1].detach()], dim=1)
        return lambda **_: SimpleNamespace(logits=padded)

    trainer = _stand_in(
        A2POTrainer,
        A2POConfig(output_dir=folder, use_cpu=True, bf16=False, report_to="none", beta2=beta2),
        model=SimpleNamespace(training=True),
        model_kwarg_keys=(),
    )
    one = torch.ones_like(tokens[:, :1])
    place = {
        "input_ids": torch.cat([one, tokens], dim=1),
        "attention_mask": torch.cat([one, mask.long()], dim=1),
        "logits_to_keep": tokens.shape[1],
    }
    ref_logps = trainer._get_sequence_logps(model(ref_logits), **place)
    inputs = place | {"ref_logps": ref_logps, "rewards": returns, "v_star": vstar}
    loss: Tensor = trainer.compute_loss(model(logits), inputs)
    return loss
