"""AdamW for weights of a narrow type: it steps on float32 copies, or small steps would be rounded away.

A weight of 0.02 in bfloat16 has neighbours 1.2e-4 apart; a step of 5e-6 never leaves it. The copies cost
four bytes a trained parameter; adapters are float32 already and need none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

COPIES = "float32_copies"


class MasterAdamW(torch.optim.AdamW):
    """AdamW over float32 copies of the parameters that are narrower; equal to AdamW where none is.

    Args:
        groups: as AdamW takes them.
        options: as AdamW takes them.
    """

    def __init__(self, groups: list[dict[str, Any]], **options: Any) -> None:
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        super().__init__(
            [{**group, "params": [self._own(p) for p in group["params"]]} for group in groups], **options
        )

    def _own(self, weight: nn.Parameter) -> nn.Parameter:
        if weight.dtype == torch.float32:
            return weight
        copy = nn.Parameter(weight.detach().float())
        self._pairs.append((weight, copy))
        return copy

    @property
    def copies(self) -> list[nn.Parameter]:
        """The float32 copies, in the order of their saved state."""
        return [copy for _, copy in self._pairs]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step on the copies, rounded into the weights."""
        for weight, copy in self._pairs:
            copy.grad = None if weight.grad is None else weight.grad.float()
        loss: float | None = super().step(closure)
        for weight, copy in self._pairs:
            weight.copy_(copy)
            copy.grad = None
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the weights."""
        super().zero_grad(set_to_none)
        for weight, _ in self._pairs:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """AdamW's state with the copies, which know more than the rounded weights."""
        copies: list[Tensor] = [copy.detach().clone() for _, copy in self._pairs]
        return {**super().state_dict(), COPIES: copies}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state; the weights follow the copies."""
        rest = dict(state_dict)
        copies = rest.pop(COPIES)
        super().load_state_dict(rest)
        for (weight, copy), saved in zip(self._pairs, copies, strict=True):
            copy.copy_(saved)
            weight.copy_(copy)
