"""Decoding state of a batch of transcripts that grow by ragged pieces, key-value cache kept.

Rows of one batch receive pieces of different lengths (a page here, one token there). Each feed is
padded on the right to its longest piece; the padded slots stay in the cache as holes that the
attention mask hides. Rotary positions are given explicitly, so holes change nothing but memory,
and when they fill too much of it the cache is compacted.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Cache

from webshop_rl.models.growing_layer import GrowingLayer
from webshop_rl.models.network import PolicyNetwork

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
            attention_mask=filled.long(),
            position_ids=self._length[:, None] + torch.where(new, offsets[None, :], 0),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._filled = filled
        self._length = self._length + lengths
        last = (lengths - 1).clamp(min=0)
        hidden: Tensor = out.last_hidden_state[torch.arange(len(pieces), device=device), last]
        self._compact()
        return hidden

    def keep(self, rows: list[int]) -> None:
        """Drop all other rows."""
        index = torch.tensor(rows, dtype=torch.long, device=self._length.device)
        self._filled, self._length = self._filled[index], self._length[index]
        if self._cache.get_seq_length() > 0:
            self._cache.batch_select_indices(index)

    def forget(self, row: int) -> None:
        """Empty one row, for a transcript that starts a new segment."""
        self._filled[row] = False
        self._length[row] = 0

    def _compact(self) -> None:
        """Shift every row's filled slots to the left when holes waste too much."""
        slots, needed = self._filled.shape[1], int(self._length.max())
        if slots < 64 or slots - needed <= COMPACT_ABOVE * slots:
            return
        # A stable sort keeps the order of the filled slots, which the causal mask relies on.
        order = torch.argsort((~self._filled).to(torch.int8), dim=1, stable=True)[:, :needed]
        self._filled = self._filled.gather(1, order)
        for layer in self._cache.layers:
            index = order[:, None, :, None].expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3])
            layer.put(layer.keys.gather(2, index), layer.values.gather(2, index))
