"""Decoding state of transcripts that grow by ragged pieces, each in buffers of its own; for a CPU.

    rows       0: <prompt> search    1: <prompt> search [ red    2: <prompt> click
    fed        [ shoes               nothing                     [
    packed     [ shoes [             linear layers see three tokens
    attention  by rows: [ and shoes to row 0, [ to row 2; row 1 costs nothing

A batch of episodes is never in step: some are inside a reply, others wait at a page, and pages differ in
length. DecodingCache pads all to the longest piece and attends over the longest transcript: few calls, which
is what counts on a GPU. On a CPU arithmetic and copying count: here nothing is padded, and when a row leaves,
or parts from another, all the rest stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from webshop_rl.models.cache import NO_TOKEN, DecodingCache
from webshop_rl.models.network import PolicyNetwork
from webshop_rl.models.prefix_tree import FedRow

GROWTH = 1.25  # new room over the tokens needed


class Room:
    """Keys and values [1, heads, tokens, d] that grow by appending; written in place, without gradient."""

    def __init__(self) -> None:
        self._keys = torch.empty(0)
        self._values = torch.empty(0)
        self.length = 0
        self._slots = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append [1, heads, new, d] to each; all that is held."""
        new = keys.shape[2]
        if self._slots < self.length + new:
            self._grow(keys, values, int((self.length + new) * GROWTH))
        self._keys.narrow(2, self.length, new).copy_(keys)
        self._values.narrow(2, self.length, new).copy_(values)
        self.length += new
        return self.held

    @property
    def held(self) -> tuple[Tensor, Tensor]:
        """All keys and values, as views."""
        return self._keys.narrow(2, 0, self.length), self._values.narrow(2, 0, self.length)

    def copy(self) -> Room:
        """The same in buffers of its own."""
        copied = Room()
        if self.length:
            copied.append(*self.held)
        return copied

    def _grow(self, keys: Tensor, values: Tensor, slots: int) -> None:
        held = self.held if self.length else None
        self._slots = slots
        self._keys = keys.new_empty(1, keys.shape[1], slots, keys.shape[3])
        self._values = values.new_empty(1, values.shape[1], slots, values.shape[3])
        if held is not None:
            self._keys.narrow(2, 0, self.length).copy_(held[0])
            self._values.narrow(2, 0, self.length).copy_(held[1])


@dataclass
class _Row:
    """A transcript: its keys and values by layer, what a pointer may copy from it, its last token."""

    layers: list[Room]
    copies: Room = field(default_factory=Room)
    length: int = 0
    last: int = NO_TOKEN

    def copy(self) -> _Row:
        return _Row([room.copy() for room in self.layers], self.copies.copy(), self.length, self.last)


class RowCache:
    """As DecodingCache, for a network that packs.

    Args:
        network: the policy network; used without gradient.
        num_rows: B.
    """

    def __init__(self, network: PolicyNetwork, num_rows: int) -> None:
        self._network = network
        self._num_layers = int(network.causal_lm.config.num_hidden_layers)
        self._rows = [self._empty() for _ in range(num_rows)]

    def _empty(self) -> _Row:
        return _Row([Room() for _ in range(self._num_layers)])

    @property
    def num_rows(self) -> int:
        return len(self._rows)

    @torch.no_grad()
    def feed(self, pieces: list[list[int]], pad: int) -> Tensor:
        """Append pieces[b] to row b (empty pieces allowed, not all of them); nothing is padded.

        Returns: [B, H] hidden state of each row's last new token (undefined for empty pieces).
        """
        fed = [(row, piece) for row, piece in zip(self._rows, pieces, strict=True) if piece]
        tokens = [token for _, piece in fed for token in piece]
        before = [token for row, piece in fed for token in (row.last, *piece[:-1])]
        positions = [at for row, piece in fed for at in range(row.length, row.length + len(piece))]
        device = self._network.device
        states = self._network.packed(
            torch.tensor([tokens], device=device),
            torch.tensor([positions], device=device),
            torch.tensor([before], device=device),
            fed=[FedRow.of(row.layers, row.length, len(piece), device) for row, piece in fed],
        )
        self._append(fed, states, tokens)
        ends = torch.tensor([len(piece) for _, piece in fed], device=device).cumsum(0) - 1
        self._hidden = states.new_zeros(len(pieces), states.shape[-1])
        self._hidden[[i for i, piece in enumerate(pieces) if piece]] = states[ends]
        return self._hidden

    def _append(self, fed: list[tuple[_Row, list[int]]], states: Tensor, tokens: list[int]) -> None:
        """Note what was read beside keys and values."""
        pointer = self._network.pointer
        start = 0
        for row, piece in fed:
            if pointer is not None:
                part = slice(start, start + len(piece))
                ids = torch.tensor(piece, device=states.device)
                row.copies.append(pointer.key(states[part])[None, None], ids[None, None, :, None])
            row.length += len(piece)
            row.last = piece[-1]
            start += len(piece)

    @torch.no_grad()
    def logits(self, rows: list[int]) -> Tensor:
        """[len(rows), V] float32 of what follows the last fed token of different rows."""
        hidden = self._hidden[rows]
        if self._network.pointer is None:
            return self._network.logits(hidden)
        held = [self._rows[row].copies.held for row in rows]
        keys = pad_sequence([keys[0, 0] for keys, _ in held], batch_first=True)
        tokens = pad_sequence([tokens[0, 0, :, 0] for _, tokens in held], batch_first=True)
        lengths = torch.tensor([self._rows[row].length for row in rows], device=keys.device)
        seen = torch.arange(keys.shape[1], device=keys.device) < lengths[:, None]
        index = torch.arange(len(rows), device=keys.device)
        return self._network.logits(hidden, self._network.copies(keys, tokens), index, seen)

    def keep(self, rows: list[int]) -> None:
        """Drop all other rows; one that is named again is copied."""
        taken: set[int] = set()
        kept = []
        for row in rows:
            kept.append(self._rows[row].copy() if row in taken else self._rows[row])
            taken.add(row)
        self._rows = kept

    def forget(self, row: int) -> None:
        """Empty one row, for a transcript that starts a new segment."""
        self._rows[row] = self._empty()


def decoding_cache(network: PolicyNetwork, num_rows: int) -> RowCache | DecodingCache:
    """The cache that is faster for this network where it is."""
    by_rows = network.packs and network.device.type == "cpu"
    return RowCache(network, num_rows) if by_rows else DecodingCache(network, num_rows)
