"""The checkpoints of a run while it trains: which are written, kept, deleted, resumed from.

Every rank calls every method; rank 0 alone reads and writes the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from webshop_rl.distributed.ranks import Ranks
from webshop_rl.errors import UserError
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.tracker import Tracker
from webshop_rl.training.checkpoint import Checkpoint, find_checkpoints, sweep_away, write_checkpoint
from webshop_rl.training.learner import Learner
from webshop_rl.training.measures import timed
from webshop_rl.training.progress import Progress
from webshop_rl.training.reference import Reference


class CheckpointKeeper:
    """Keeps the newest checkpoint, the one before it, and the best by validation.

    Args:
        folder: the run's folder.
        learner: whose weights and optimiser state are saved.
        ranks: that train together.
        tracker: where the time that saving takes goes.
        warn: called with a line for people.
        notes: what a file of the weights says of them.
        reference: the reference policy, if it is reset and so must be saved; else None.

    Attributes:
        saved: update of the newest checkpoint, -1 for none.
    """

    def __init__(
        self,
        folder: Path,
        learner: Learner,
        ranks: Ranks,
        tracker: Tracker,
        warn: Callable[[str], None],
        notes: Mapping[str, str],
        reference: Reference | None = None,
    ) -> None:
        self._folder = RunFolder(folder).checkpoints
        self._learner = learner
        self._ranks = ranks
        self._tracker = tracker
        self._warn = warn
        self._notes = notes
        self._reference = reference
        self._previous = -1
        self.saved = -1

    def newest(self) -> Checkpoint | None:
        """The last complete checkpoint, the one that an attempt resumes from."""
        whole = find_checkpoints(self._folder) if self._ranks.is_main else []
        if self._ranks.is_main:
            self._warn_of_damage(whole)
        last = self._ranks.agree(whole[-1] if whole else None)
        self.saved = last.update if last else -1
        return last

    def _warn_of_damage(self, whole: Sequence[Checkpoint]) -> None:
        # Found by their names: digests of large weights are not computed a second time.
        complete = {checkpoint.path.name for checkpoint in whole}
        names = {path.name for path in self._folder.glob("update_*")}
        damaged = ", ".join(sorted(names - complete))
        if damaged:
            whence = f"from {whole[-1].path.name}" if whole else "at update 0: no other is whole"
            self._warn(f"damaged checkpoint, left out: {damaged}; going on {whence}")

    def save(self, progress: Progress) -> None:
        """Write a checkpoint of this update; the tracker must have been flushed before."""
        timings: dict[str, float] = {}
        with timed(timings, "time/checkpoint_s"):
            weights, optimiser = self._learner.state()
            if self._ranks.is_main:
                state = vars(progress)
                reference = self._reference.state() if self._reference is not None else None
                write_checkpoint(
                    self._folder, progress.update, weights, optimiser, state, self._notes, reference
                )
            self._ranks.agree(None)  # nobody looks for a checkpoint before it is there
        self._tracker.metrics(progress.update, timings)
        # The one before stays while the run goes on, should the disk lose the newest.
        self._previous = self.saved
        self.saved = progress.update
        self.sweep(progress.best_update)

    def sweep(self, best_update: int) -> None:
        """Delete what is half-written and all checkpoints but those that are kept."""
        if self._ranks.is_main:
            sweep_away(self._folder, {self._previous, self.saved, best_update})

    def best(self, update: int) -> Checkpoint:
        """The checkpoint of an update. Raises: UserError if it is damaged or gone."""
        found = find_checkpoints(self._folder) if self._ranks.is_main else []
        by_update = self._ranks.agree({checkpoint.update: checkpoint for checkpoint in found})
        if update in by_update:
            return by_update[update]
        raise UserError(
            f"the best checkpoint (update {update}) is damaged or gone",
            where=str(self._folder),
            remedy="restore it, or delete the run's folder and start anew",
        )
