"""What a small model needs to match words: an output that copies, and a mix of each token with the last.

A model of a few hundred thousand weights, trained on a few hundred products, does not learn that the word
asked for is the word on the page: to it they are two rows of a table. Both parts look at the transcript's
own tokens instead, so what they learn holds for words they have never seen.

    transcript   ... want red shoes <page> item 1 red boots 9 <act> search [
    pointer      the logit of "red" grows with q(h of "[") k(h of "red"), here at two places
    smear        "shoes" reads W E["red"] beside its own embedding, at no cost of a layer
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Copies:
    """What S transcripts of J places offer to be copied.

    Attributes:
        keys: [S, J, d] float32.
        tokens: [S, J] the token at each place.
        first: [S, J] the first place of a transcript that holds the same token.
    """

    keys: Tensor
    tokens: Tensor
    first: Tensor

    @staticmethod
    def of(keys: Tensor, tokens: Tensor, vocab_size: int) -> Copies:
        """From keys [S, J, d] and tokens [S, J]."""
        num_rows, num_places = tokens.shape
        places = torch.arange(num_places, device=tokens.device).expand(num_rows, -1)
        first = torch.full((num_rows, vocab_size), num_places, device=tokens.device)
        first = first.scatter_reduce(1, tokens, places, "amin")
        return Copies(keys.float(), tokens, first.gather(1, tokens))


class Pointer(nn.Module):
    """Adds copying to the logits: that of token c becomes, with d the hidden size,

        logaddexp(E_c h, logsumexp over earlier places j holding c of q(h) k(h_j) / sqrt(d))

    so a token that stands at many fitting places gains from each (pointer-generator networks, See et al.
    2017, with one softmax over words and places).

    Args:
        hidden_size: width of the hidden states.
        std: of the initial weights.
    """

    def __init__(self, hidden_size: int, std: float) -> None:
        super().__init__()
        self.query = _linear(hidden_size, std)
        self.key = _linear(hidden_size, std)

    def forward(self, logits: Tensor, hidden: Tensor, copies: Copies, row: Tensor, seen: Tensor) -> Tensor:
        """Logits of N decisions with what may be copied.

        Args:
            logits: [N, V] float32, of the output layer.
            hidden: [N, H] the states that they are from.
            copies: what stands in the transcripts.
            row: [N] each decision's transcript.
            seen: [N, J] the places that a decision may look at: its own and those before.
        Returns: [N, V].
        """
        tokens, first = copies.tokens[row], copies.first[row]
        scores = self._scores(hidden, copies.keys, row).masked_fill(~seen, -torch.inf)
        # A logsumexp of each token's places, kept at the token's first place.
        with torch.no_grad():
            largest = torch.full_like(scores, -torch.inf).scatter_reduce(1, first, scores, "amax")
            largest = largest.masked_fill(torch.isneginf(largest), 0.0)
        total = torch.zeros_like(scores).scatter_add(1, first, (scores - largest.gather(1, first)).exp())
        held = total > 0
        copied = largest + total.where(held, 1.0).log()
        # logaddexp(a, b) = a + softplus(b - a); all but a token's first place add nothing.
        gain = F.softplus(copied - logits.gather(1, tokens)).where(held, 0.0)
        return logits.scatter_add(1, tokens, gain)

    def _scores(self, hidden: Tensor, keys: Tensor, row: Tensor) -> Tensor:
        """[N, J]; decisions of one transcript meet its keys together: none is copied for each of them."""
        queries = self.query(hidden).float() / keys.shape[-1] ** 0.5
        present, place, counts = torch.unique(row, return_inverse=True, return_counts=True)
        order = place.argsort(stable=True)
        column = torch.empty_like(place)
        start = counts.cumsum(0) - counts
        column[order] = torch.arange(len(row), device=row.device) - start[place[order]]
        widest = int(counts.max()) if len(row) else 0
        grid = queries.new_zeros(len(present), widest, keys.shape[-1]).index_put((place, column), queries)
        keys = keys if len(present) == len(keys) else keys[present]
        return torch.bmm(grid, keys.transpose(1, 2))[place, column]


class Smear(nn.Module):
    """Adds to each token's embedding that of the token before, through a matrix: x_t + W x_(t-1).

    Args:
        hidden_size: width of the embeddings.
        std: of the initial weights.
    """

    def __init__(self, hidden_size: int, std: float) -> None:
        super().__init__()
        self.mix = _linear(hidden_size, std)

    def forward(self, embedded: Tensor, previous: Tensor) -> Tensor:
        """[B, L, H] from the embeddings of tokens and of those before them, both [B, L, H]."""
        mixed: Tensor = embedded + self.mix(previous)
        return mixed


def _linear(size: int, std: float) -> nn.Linear:
    layer = nn.Linear(size, size, bias=False)
    nn.init.normal_(layer.weight, std=std)
    return layer
