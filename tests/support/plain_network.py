"""A second implementation of the policy network: one unpadded segment, no cache, sums written out."""

from __future__ import annotations

import torch
from torch import Tensor

from webshop_rl.models.network import PolicyNetwork


@torch.no_grad()
def plain_logits(network: PolicyNetwork, tokens: list[int]) -> Tensor:
    """[L, V] float64: what the network says should follow each token."""
    table = network.causal_lm.get_input_embeddings().weight
    read = [table[token] for token in tokens]
    if network.smear is not None:
        read = read[:1] + [read[i] + network.smear.mix(table[tokens[i - 1]]) for i in range(1, len(read))]
    hidden = network.causal_lm.get_decoder()(inputs_embeds=torch.stack(read)[None]).last_hidden_state[0]
    logits = network.causal_lm.get_output_embeddings()(hidden)[:, : network.vocab_size].double()
    if network.pointer is None:
        return logits
    for place, state in enumerate(hidden):
        query = network.pointer.query(state).double()
        by_token: dict[int, list[Tensor]] = {}
        for token, earlier in zip(tokens[: place + 1], hidden[: place + 1], strict=True):
            score = query @ network.pointer.key(earlier).double() / len(state) ** 0.5
            by_token.setdefault(token, []).append(score)
        for token, scores in by_token.items():
            logits[place, token] = torch.logsumexp(torch.stack([logits[place, token], *scores]), 0)
    return logits
