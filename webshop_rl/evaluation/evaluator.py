"""Evaluates policies on the same episodes: each is played once, and on record under its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from webshop_rl.distributed.ranks import Ranks
from webshop_rl.evaluation.policies import Policy
from webshop_rl.evaluation.records import (
    Record,
    by_stage,
    read_records,
    summarise,
    summarise_evaluation,
    table_rows,
    worth_reading,
    write_records,
)
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.tracker import Tracker


@dataclass(frozen=True)
class Evaluation:
    """A policy's episodes, on record.

    Attributes:
        name, label: of the policy.
        records: one an episode, as records.episode_record makes them.
    """

    name: str
    label: str
    records: list[Record]


@dataclass(frozen=True)
class Evaluator:
    """Evaluates policies on the same episodes.

    Attributes:
        specs: the episodes.
        tracker: of the run.
        folder: of the run.
        ranks: of the run.
    """

    specs: Sequence[EpisodeSpec]
    tracker: Tracker
    folder: Path
    ranks: Ranks

    def play(self, policy: Policy) -> list[Record]:
        """Play a policy, or read back what was played before; nothing goes to the tracker.

        Every rank calls it.
        """
        path = RunFolder(self.folder).episodes(policy.name)
        records = self.ranks.agree(read_records(path))
        if records is None:
            trajectories = policy.play(self.specs)
            records = self.ranks.agree(write_records(path, trajectories) if self.ranks.is_main else [])
        return records

    def evaluate(self, policy: Policy, step: int, *, traces: bool = False) -> Evaluation:
        """Play a policy, or read back what was played before, and record it.

        Every rank calls it.

        Args:
            step: updates done.
            traces: whether the tracker shows the episodes too.
        """
        return self.record(policy, self.play(policy), step, traces=traces)

    def record(self, policy: Policy, records: list[Record], step: int, *, traces: bool = False) -> Evaluation:
        """Have the tracker show what `play` returned: metrics, table, JSONL; arguments as of `evaluate`."""
        path = RunFolder(self.folder).episodes(policy.name)
        means = summarise_evaluation(records)
        metrics = {f"{policy.name}/{name}": value for name, value in means.items()}
        for stage, own in by_stage(records).items():
            name = policy.name.replace("/", "_")
            metrics[f"stage/{stage}/{name}_success"] = summarise(own)["success"]
        self.tracker.metrics(step, metrics)
        if self.ranks.is_main:
            self.tracker.artifact(path, path.parent.name)
            self.tracker.table(path.stem, table_rows(records))
            if traces:
                self.tracker.traces(path.stem, worth_reading(records))
        self.tracker.flush()
        return Evaluation(policy.name, policy.label, records)
