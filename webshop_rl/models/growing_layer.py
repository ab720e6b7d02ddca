"""A key-value cache layer with room to grow, so that a decoded token costs no copy of all before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

GROWTH = 1.5  # new room over the slots needed


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """As DynamicLayer, but keys and values are views into buffers that are larger than what they hold.

    For decoding without gradient only: buffers are written in place.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rooms: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append [B, heads, new, d]; the whole keys and values, [B, heads, slots, d]."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        needed = held + key_states.shape[2]
        if self._rooms is None or self._rooms[0].shape[2] < needed:
            self._rooms = (
                self._room(key_states, self.keys, needed),
                self._room(value_states, self.values, needed),
            )
        keys, values = self._rooms
        keys[:, :, held:needed], values[:, :, held:needed] = key_states, value_states
        self.keys = keys[:, :, :needed]
        self.values = values[:, :, :needed]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the rows at indices."""
        if self.get_seq_length() > 0:
            self.put(self.keys[indices], self.values[indices])

    def put(self, keys: Tensor, values: Tensor) -> None:
        """Replace all that is held."""
        self.keys = keys
        self.values = values
        self._rooms = None

    @staticmethod
    def _room(like: Tensor, held: Tensor, needed: int) -> Tensor:
        batch, heads, _, size = like.shape
        room = torch.empty(batch, heads, int(needed * GROWTH), size, dtype=like.dtype, device=like.device)
        if held.numel():
            room[:, :, : held.shape[2]] = held
        return room
