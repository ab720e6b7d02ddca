"""Which tokens a decoding mask lets through, as recorded with each sampled token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TokenMask:
    """A set of token ids, or its complement.

    Attributes:
        ids: sorted ids.
        complement: False lets exactly `ids` through, True everything but `ids`.
    """

    ids: NDArray[np.int64]
    complement: bool = False

    @property
    def forced(self) -> int | None:
        """The only token let through, or None if there is a choice."""
        return int(self.ids[0]) if not self.complement and len(self.ids) == 1 else None

    def admits(self, token: int) -> bool:
        """Whether a token is let through."""
        return bool(token in self.ids) != self.complement


def only(ids: set[int] | list[int]) -> TokenMask:
    """A mask that lets exactly these ids through."""
    return TokenMask(np.array(sorted(ids), dtype=np.int64))


def everything_but(ids: set[int] | list[int]) -> TokenMask:
    """A mask that lets all but these ids through."""
    return TokenMask(np.array(sorted(ids), dtype=np.int64), complement=True)
