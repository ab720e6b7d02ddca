"""Choosing a token: inverse-CDF sampling from each episode's own random stream, or greedy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from webshop_rl.interface.masks import TokenMask, only
from webshop_rl.models.network import decision_logprobs


def choose(
    logits: Tensor,
    masks: list[TokenMask | None],
    uniforms: list[float],
    *,
    temperature: float,
    top_p: float = 1.0,
) -> tuple[list[int], list[float], list[TokenMask | None]]:
    """Choose one token a row.

    Args:
        logits: [N, V] float32.
        masks: N decoding masks.
        uniforms: N draws from [0, 1), one from each row's stream, so that a row's tokens do not
            depend on what else is in the batch.
        temperature: 0 is greedy (log-probs are then those at temperature 1).
        top_p: below 1, sample from the smallest set of tokens of at least this probability; the set
            is returned as the mask to record, so that the learner applies the same truncation.
    Returns: tokens, their log-probs (nats), and the masks in force.
    """
    log_p = decision_logprobs(logits, masks, temperature or 1.0)
    if temperature == 0:
        tokens = log_p.argmax(dim=1)
    else:
        if top_p < 1:
            masks = [_nucleus(row, top_p) for row in log_p]
            log_p = decision_logprobs(logits, masks, temperature)
        cumulative = log_p.double().exp().cumsum(dim=1)
        # Scaled by the total: rounding must not leave a draw beyond the last token.
        draws = torch.tensor(uniforms, dtype=torch.float64, device=logits.device) * cumulative[:, -1]
        tokens = torch.searchsorted(cumulative, draws[:, None], right=True).squeeze(1)
        tokens = tokens.clamp(max=logits.shape[1] - 1)
    chosen = log_p.gather(1, tokens[:, None]).squeeze(1)
    return tokens.tolist(), chosen.tolist(), masks


def _nucleus(log_p: Tensor, top_p: float) -> TokenMask:
    """The smallest set of most likely tokens whose probability reaches top_p."""
    ordered, ids = log_p.double().exp().sort(descending=True, stable=True)
    before = ordered.cumsum(0) - ordered
    kept = ids[(before < top_p) & (ordered > 0)].cpu().numpy()
    return only(list(np.asarray(kept)))
