"""Decoding state of a batch of transcripts that grow by ragged pieces, key-value cache kept.

Rows of one batch receive pieces of different lengths (a page here, one token there). Each feed is
padded on the right to its longest piece; the padded slots stay in the cache as holes that the
attention mask hides. Rotary positions are given explicitly, so holes change nothing but memory,
and when they fill too much of it the cache is compacted. Beside the layers' keys and values stands what
a pointer looks at (its keys, and the tokens), and each row's last token, for what mixes it with the next.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Cache

from webshop_rl.models.growing_layer import GrowingLayer
from webshop_rl.models.network import PolicyNetwork

NO_TOKEN = -1  # before a row's first token
COMPACT_ABOVE = 0.25  # share of slots that may be holes in the fullest row before compaction


class DecodingCache:
    """Key-value cache of B transcripts.

    Args:
        network: the policy network; used without gradient.
        num_rows: B.
    """

    def __init__(self, network: PolicyNetwork, num_rows: int) -> None:
        self._network = network
        self._cache = Cache(layer_class_to_replicate=GrowingLayer)
        self._filled = torch.zeros(num_rows, 0, dtype=torch.bool, device=network.device)
        self._length = torch.zeros(num_rows, dtype=torch.long, device=network.device)
        self._last = torch.full((num_rows,), NO_TOKEN, dtype=torch.long, device=network.device)
        self._copies = (
            GrowingLayer()
        )  # the pointer's keys [B, 1, slots, d], tokens as values [B, 1, slots, 1]

    @property
    def num_rows(self) -> int:
        return int(self._length.shape[0])

    @torch.no_grad()
    def feed(self, pieces: list[list[int]], pad: int) -> Tensor:
        """Append pieces[b] to row b (empty pieces allowed, not all of them).

        Returns: [B, H] hidden state of each row's last new token (undefined for empty pieces).
        """
        device = self._network.device
        lengths = torch.tensor([len(piece) for piece in pieces], device=device)
        width = max(1, int(lengths.max()))
        ids = torch.tensor([piece + [pad] * (width - len(piece)) for piece in pieces], device=device)
        offsets = torch.arange(width, device=device)
        new = offsets[None, :] < lengths[:, None]
        filled = torch.cat([self._filled, new], dim=1)
        out = self._network.hidden(
            input_ids=ids,
            before=self._last,
            attention_mask=filled.long(),
            position_ids=self._length[:, None] + torch.where(new, offsets[None, :], 0),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._filled = filled
        self._length = self._length + lengths
        last = (lengths - 1).clamp(min=0)
        rows = torch.arange(len(pieces), device=device)
        states: Tensor = out.last_hidden_state
        self._last = torch.where(lengths > 0, ids[rows, last], self._last)
        if self._network.pointer is not None:
            self._copies.update(self._network.pointer.key(states)[:, None], ids[:, None, :, None])
        self._compact()
        self._hidden = states[rows, last]
        return self._hidden

    @torch.no_grad()
    def logits(self, rows: list[int]) -> Tensor:
        """[len(rows), V] float32 of what follows the last fed token of different rows."""
        index = torch.tensor(rows, dtype=torch.long, device=self._length.device)
        if self._network.pointer is None:
            return self._network.logits(self._hidden[index])
        copies = self._network.copies(self._copies.keys[:, 0], self._copies.values[:, 0, :, 0])
        return self._network.logits(self._hidden[index], copies, index, self._filled[index])

    def keep(self, rows: list[int]) -> None:
        """Drop all other rows."""
        index = torch.tensor(rows, dtype=torch.long, device=self._length.device)
        self._filled = self._filled[index]
        self._length = self._length[index]
        self._last = self._last[index]
        if self._cache.get_seq_length() > 0:
            self._cache.batch_select_indices(index)
        self._copies.batch_select_indices(index)

    def forget(self, row: int) -> None:
        """Empty one row, for a transcript that starts a new segment."""
        self._filled[row] = False
        self._length[row] = 0
        self._last[row] = NO_TOKEN

    def _compact(self) -> None:
        """Shift every row's filled slots to the left when holes waste too much."""
        slots, needed = self._filled.shape[1], int(self._length.max())
        if slots < 64 or slots - needed <= COMPACT_ABOVE * slots:
            return
        # A stable sort keeps the order of the filled slots, which the causal mask relies on.
        order = torch.argsort((~self._filled).to(torch.int8), dim=1, stable=True)[:, :needed]
        self._filled = self._filled.gather(1, order)
        for layer in (*self._cache.layers, self._copies):
            if layer.get_seq_length() > 0:
                layer.put(_reordered(layer.keys, order), _reordered(layer.values, order))


def _reordered(held: Tensor, order: Tensor) -> Tensor:
    """[B, heads, slots, d] by order [B, new slots]."""
    return held.gather(2, order[:, None, :, None].expand(-1, held.shape[1], -1, held.shape[3]))
