"""Every test episode of the arms, with its reason if it failed, and a few to be read whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webshop_rl.evaluation.reasons import Reason, reason

from .arms import Arm
from .load import Run
from .records import Record

SAMPLES = 2  # episodes of each arm and reason that are kept whole
ReadEpisodes = Callable[[Run], Sequence[Record]]


@dataclass(frozen=True)
class Played:
    """One test episode.

    Attributes:
        arm: label.
        run: name of the run's folder; the episode is line `number` of its episodes/test.jsonl.
        reason: why it failed, "" of a success.
        actions: what was done, turn by turn.
        record: the whole of it, of the few that are to be read.
    """

    arm: str
    run: str
    seed: str
    number: int
    goal: str
    asin: str
    instruction: str
    score: float
    success: bool
    end: str
    reason: str
    actions: tuple[str, ...]
    record: Record | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What distinguishes it from the others, for links within a page."""
        return f"{self.run}-{self.number}"

    def row(self) -> dict[str, Any]:
        """As a line of episodes.jsonl."""
        return {key: value for key, value in vars(self).items() if key != "record"}


def survey(arms: Iterable[Arm], read: ReadEpisodes, *, samples: int | None = SAMPLES) -> list[Played]:
    """The test episodes of all finished runs, in order; runs without records are passed over.

    Args:
        read: the records of a run's test.
        samples: how many of each arm and reason are kept whole; None keeps all.
    """
    found = []
    for arm in arms:
        sampled: dict[str, set[str]] = {}
        for run in arm.finished:
            for number, record in enumerate(read(run), 1):
                why = reason(record)
                goals = sampled.setdefault(str(why or ""), set())
                kept = samples is None or (len(goals) < samples and record["goal"] not in goals)
                if kept:
                    goals.add(record["goal"])
                found.append(_played(arm, run, number, record, why, kept=kept))
    return found


def reasons_by_arm(played: Sequence[Played]) -> dict[str, Counter[str]]:
    """How many episodes of each arm failed for each reason; arms without a failure have an empty count."""
    found: dict[str, Counter[str]] = {episode.arm: Counter() for episode in played}
    for episode in played:
        if episode.reason:
            found[episode.arm][episode.reason] += 1
    return found


def success_by_goal(played: Sequence[Played]) -> dict[str, dict[str, float]]:
    """Share of an arm's episodes of a goal that succeeded, by goal and arm."""
    outcomes: dict[str, dict[str, list[bool]]] = {}
    for episode in played:
        outcomes.setdefault(episode.goal, {}).setdefault(episode.arm, []).append(episode.success)
    return {
        goal: {arm: sum(own) / len(own) for arm, own in by_arm.items()} for goal, by_arm in outcomes.items()
    }


def usual_reason(counts: Mapping[str, int]) -> str:
    """The commonest reason with its share of the failures, "" without a failure."""
    if not counts:
        return ""
    order = list(map(str, Reason))
    name = min(counts, key=lambda reason: (-counts[reason], order.index(reason)))
    return f"{name} ({counts[name] / sum(counts.values()):.0%})"


def _played(arm: Arm, run: Run, number: int, record: Record, why: Reason | None, *, kept: bool) -> Played:
    return Played(
        arm=arm.label,
        run=run.folder_name,
        seed=run.seed,
        number=number,
        goal=record["goal"],
        asin=record["asin"],
        instruction=record["instruction"],
        score=record["score"],
        success=record["success"],
        end=record["end"],
        reason=str(why or ""),
        actions=tuple(turn["action"] for turn in record["turns"]),
        record=record if kept else None,
    )
