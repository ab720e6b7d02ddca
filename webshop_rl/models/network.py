"""The policy network: a causal language model read at action tokens only, with an optional critic.

Learning never builds [tokens x vocabulary]: hidden states are gathered at the positions that
predict a sampled token with a real choice, and the output layer is applied there alone, in chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from webshop_rl.interface.masks import TokenMask
from webshop_rl.models.masking import apply_masks
from webshop_rl.models.pointer import Copies, Pointer, Smear
from webshop_rl.models.prefix_tree import FedRow, PrefixTree, allow

LOGIT_CHUNK = 1024  # decisions per output-layer call
RECOMPUTE_ABOVE = 2**24  # logits kept for the backward pass; more are computed again instead


@dataclass(frozen=True)
class ScoreInputs:
    """A micro-batch of segments. S segments, L tokens, A decisions, K turn starts.

    Attributes:
        input_ids: [S, L], padded on the right; a causal model never looks ahead, so no mask is needed.
        row, position: [A] segment and position of the hidden state that predicts each decision.
        target: [A] the token sampled there.
        masks: A decoding masks, as recorded by the sampler.
        value_row, value_position: [K] where the critic reads (last context token before a turn).
        tree: the same segments without padding, for a network that packs; None: read as they are padded.
    """

    input_ids: Tensor
    row: Tensor
    position: Tensor
    target: Tensor
    masks: list[TokenMask | None]
    value_row: Tensor
    value_position: Tensor
    tree: PrefixTree | None = None


@dataclass(frozen=True)
class ScoreOutputs:
    """logprobs [A], entropy [A] (nats, with gradient) or None, greedy [A] bool: whether no token was likelier
    than the one taken, values [K] or None."""

    logprobs: Tensor
    entropy: Tensor | None
    greedy: Tensor
    values: Tensor | None


class PolicyNetwork(nn.Module):
    """A Hugging Face causal model and what is added to it; its dropout, if it has any, is off for good.

    Args:
        model: the causal LM (possibly wrapped by peft).
        vocab_size: ids the tokenizer knows; padding rows of the output layer are never sampled.
        critic: whether to add a value head, a linear layer on the last hidden state.
        pointer: an output that copies tokens of the transcript.
        smear: what mixes each embedding with the one before.
    """

    def __init__(
        self,
        model: Any,
        vocab_size: int,
        *,
        critic: bool = False,
        pointer: Pointer | None = None,
        smear: Smear | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.vocab_size = vocab_size
        self.pointer = pointer
        self.smear = smear
        _turn_off_dropout(model)
        self.packs = allow(self.causal_lm)
        hidden_size = int(model.config.hidden_size)
        self.value_head = nn.Linear(hidden_size, 1) if critic else None
        if self.value_head is not None:
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)

    @property
    def causal_lm(self) -> Any:
        """The causal LM itself, with adapters in place if there are any."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def hidden(self, *, input_ids: Tensor, before: Tensor | None = None, **inputs: Any) -> Any:
        """Outputs of the decoder without the output layer.

        Args:
            input_ids: [B, L].
            before: [B] the token before the first, -1 for none; None: there is none in any row.
            inputs: further inputs of the decoder.
        """
        first = input_ids.new_full((len(input_ids), 1), -1) if before is None else before[:, None]
        read = self._read(input_ids, torch.cat([first, input_ids[:, :-1]], dim=1))
        return self.causal_lm.get_decoder()(**read, **inputs)

    def _read(self, tokens: Tensor, before: Tensor) -> dict[str, Tensor]:
        """What the decoder is given of tokens [B, L], each after the token before it [B, L], -1 for none."""
        if self.smear is None:
            return {"input_ids": tokens}
        embed = self.causal_lm.get_input_embeddings()
        previous = embed(before.clamp(min=0)) * (before >= 0)[..., None]
        return {"inputs_embeds": self.smear(embed(tokens), previous)}

    def states(self, inputs: ScoreInputs) -> tuple[Tensor, Tensor]:
        """Hidden states [N, H] of a micro-batch, and where in them each of its tokens [S, L] stands."""
        tree = inputs.tree
        if tree is None or not self.packs:
            padded = self.hidden(input_ids=inputs.input_ids, use_cache=False).last_hidden_state
            size = inputs.input_ids.numel()
            return padded.flatten(0, 1), torch.arange(size, device=padded.device).view_as(inputs.input_ids)
        before = tree.tokens[:, tree.before.clamp(min=0)].where(tree.before >= 0, -1)
        return self._runs(self._read(tree.tokens, before), tree.positions, tree=tree), tree.place

    def packed(self, tokens: Tensor, positions: Tensor, before: Tensor, fed: Sequence[FedRow]) -> Tensor:
        """Hidden states [N, H] of N tokens that go on with transcripts read before, packed row by row.

        Args:
            tokens, positions: [1, N] ids, and places within their transcripts.
            before: [1, N] the token before each, -1 for none.
            fed: the transcripts; their lengths sum to N.
        """
        return self._runs(self._read(tokens, before), positions, fed=fed)

    def _runs(self, read: dict[str, Tensor], positions: Tensor, **runs: Any) -> Tensor:
        """[N, H] of packed tokens, attended to as the runs say."""
        # A mask of four dimensions is passed on as it is: the runs have their own.
        no_mask = torch.empty(1, 1, 0, 0, device=positions.device)
        found = self.causal_lm.get_decoder()(
            **read, position_ids=positions, attention_mask=no_mask, use_cache=False, **runs
        )
        states: Tensor = found.last_hidden_state[0]
        return states

    def copies(self, keys: Tensor, tokens: Tensor) -> Copies:
        """What the pointer may copy, from its keys [S, J, d] and the tokens [S, J] they stand for."""
        return Copies.of(keys, tokens, self.vocab_size)

    def logits(
        self,
        hidden: Tensor,
        copies: Copies | None = None,
        row: Tensor | None = None,
        seen: Tensor | None = None,
    ) -> Tensor:
        """[N, H] -> [N, V] float32; with a pointer, its other arguments are needed (see Pointer.forward)."""
        head = self.causal_lm.get_output_embeddings()
        logits = torch.as_tensor(head(hidden))[..., : self.vocab_size].float()
        if self.pointer is None:
            return logits
        assert copies is not None
        copied: Tensor = self.pointer(logits, hidden, copies, row, seen)
        return copied

    def values(self, hidden: Tensor) -> Tensor:
        """[N, H] -> [N] float32."""
        if self.value_head is None:
            raise ValueError("this network has no critic")
        read: Tensor = self.value_head(hidden.to(self.value_head.weight.dtype))
        return read.squeeze(-1).float()

    def forward(self, inputs: ScoreInputs, temperature: float, *, entropy: bool = False) -> ScoreOutputs:
        """Log-probs (and entropy) of the decisions under temperature and masks."""
        states, place = self.states(inputs)
        copies = None
        if self.pointer is not None:
            copies = self.copies(self.pointer.key(states)[place], inputs.input_ids)
        num_decisions = inputs.row.shape[0]
        logprobs, entropies, greedy = [], [], []
        recompute = torch.is_grad_enabled() and num_decisions * self.vocab_size > RECOMPUTE_ABOVE
        # Without a decision the outputs still hang on the weights: there is a gradient, and it is zero.
        for start in range(0, max(1, num_decisions), LOGIT_CHUNK):
            part = slice(start, start + LOGIT_CHUNK)
            places = (inputs.row[part], inputs.position[part])
            arguments = (states[place[places]], copies, *places, inputs.target[part], inputs.masks[part])
            if recompute:
                chosen, spread, best = checkpoint(
                    self._decide, *arguments, temperature, entropy, use_reentrant=False
                )
            else:
                chosen, spread, best = self._decide(*arguments, temperature, entropy)
            logprobs.append(chosen)
            entropies.append(spread)
            greedy.append(best)
        values = None
        if self.value_head is not None:
            values = self.values(states[place[inputs.value_row, inputs.value_position]])
        return ScoreOutputs(
            torch.cat(logprobs), torch.cat(entropies) if entropy else None, torch.cat(greedy), values
        )

    def _decide(
        self,
        hidden: Tensor,
        copies: Copies | None,
        row: Tensor,
        position: Tensor,
        target: Tensor,
        masks: list[TokenMask | None],
        temperature: float,
        entropy: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        seen = None
        if copies is not None:
            seen = torch.arange(copies.tokens.shape[1], device=row.device) <= position[:, None]
        log_p = decision_logprobs(self.logits(hidden, copies, row, seen), masks, temperature)
        chosen = log_p.gather(1, target[:, None]).squeeze(1)
        best = chosen.detach() >= log_p.detach().amax(dim=1)
        if not entropy:
            return chosen, chosen.new_zeros(chosen.shape), best
        # -inf * 0 is NaN, in the gradient too: masked-out entries are replaced before the product.
        finite = log_p.masked_fill(torch.isneginf(log_p), 0.0)
        return chosen, -(finite * log_p.exp()).sum(dim=1), best


def _turn_off_dropout(model: nn.Module) -> None:
    """Set every dropout of the model to 0: the sampler draws none, and the learner must agree with it."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):  # attention keeps its rate as a plain number
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def decision_logprobs(logits: Tensor, masks: list[TokenMask | None], temperature: float) -> Tensor:
    """Log-probabilities of a decision, the same for sampler and learner.

    Args:
        logits: [N, V] float32.
        masks: N decoding masks.
        temperature: > 0; logits are divided by it.
    Returns: [N, V], nats; -inf where a mask lets nothing through.
    """
    return torch.log_softmax(apply_masks(logits, masks) / temperature, dim=-1)
