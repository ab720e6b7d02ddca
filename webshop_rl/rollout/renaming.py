"""A finished trajectory under other names of its words."""

from __future__ import annotations

from dataclasses import replace

from webshop_rl.models.renaming import Renaming
from webshop_rl.rollout.types import Trajectory


def rename_trajectory(trajectory: Trajectory, renaming: Renaming) -> Trajectory:
    """The trajectory with the tokens and masks of its segments renamed; all else is as it was.

    So are its log-probs, which are then those of a policy that knows the words by their new names: fit to
    be cloned from, not to be learnt from by reward.
    """
    segments = [
        replace(
            segment,
            tokens=renaming.tokens(segment.tokens),
            masks={at: named for at, mask in segment.masks.items() if (named := renaming.mask(mask))},
        )
        for segment in trajectory.segments
    ]
    return replace(trajectory, segments=segments)
