"""Falls after the peak: how often validation success ends below its best, and what sampled episodes say then.

Validation plays the greedy policy on a few goals; training samples from the same policy. Where the one falls
while the other rises, what falls is which action is likeliest, not what the policy has learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

FALL: Final = 0.1  # of success; less is not counted
WINDOW: Final = 3  # updates whose sampled episodes are averaged


@dataclass(frozen=True)
class Ends:
    """One run at its best validation, the first of them, and at its last.

    Attributes:
        best: validation success.
        last: the same.
        sampled_at_best: mean success of training episodes over the WINDOW updates that end there; None if
            the best is the untrained policy.
        sampled_at_last: the same.
    """

    best: float
    last: float
    sampled_at_best: float | None
    sampled_at_last: float | None

    @property
    def fell(self) -> bool:
        """Whether the last is below the best by more than FALL."""
        return self.best - self.last > FALL

    @property
    def sampled_rose(self) -> bool:
        """Whether sampled episodes succeed more often at the last validation than at the best; not if there
        are none to compare."""
        if self.sampled_at_best is None or self.sampled_at_last is None:
            return False
        return self.sampled_at_last > self.sampled_at_best


def ends(validation: pd.Series, training: pd.Series) -> Ends:
    """What a run's two curves say.

    Args:
        validation: val/success by update, at least one.
        training: train/success by update.
    """
    peak = validation.sort_index().idxmax()
    end = validation.index.max()

    def sampled(update: int) -> float | None:
        own = training[(training.index > update - WINDOW) & (training.index <= update)]
        return float(own.mean()) if len(own) else None

    return Ends(float(validation[peak]), float(validation[end]), sampled(peak), sampled(end))


def table(found: Mapping[str, Sequence[Ends]]) -> str:
    """A row a shop and one of all, as Markdown.

    Args:
        found: by shop.
    """
    head = (
        f"| shop | finished runs | end more than {FALL:g} below their best "
        "| of these, sampled episodes do better at the end |\n|---|---|---|---|"
    )
    rows = {**found, "all": [own for runs in found.values() for own in runs]}
    lines = []
    for shop, runs in rows.items():
        fallen = [own for own in runs if own.fell]
        lines.append(f"| {shop} | {len(runs)} | {len(fallen)} | {sum(own.sampled_rose for own in fallen)} |")
    return "\n".join([head, *lines])
