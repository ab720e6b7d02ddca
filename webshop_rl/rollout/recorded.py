"""Episodes on record, to be cloned: checked against the shop as it is now, and played again.

A record is a line of JSON as evaluation.records.episode_record writes it; of a turn, its page and its action
are read. The pages may be those that the shop printed (a scripted policy's record) or those that this policy
is shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from webshop_rl.envs.goal_lists import by_id
from webshop_rl.envs.types import EndReason, Goal, Page
from webshop_rl.errors import UserError
from webshop_rl.interface.grammar import Unspellable
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Trajectory


class Rejected(Exception):
    """Why a record cannot be learnt from, in a phrase."""


@dataclass(frozen=True)
class RecordedCollector:
    """What GuidedCollector is to a demonstrator, to episodes that were recorded.

    Attributes:
        episodes: to be cloned, by goal; none of them is empty.
        rejected: a line for each record that was not taken: file, record, reason.
    """

    episodes: Mapping[str, Sequence[Trajectory]]
    rejected: Sequence[str]

    def demonstrated(self, goals: Sequence[Goal]) -> Sequence[Goal]:
        """Those with an episode."""
        return [goal for goal in goals if goal.id in self.episodes]

    def collect(
        self, specs: Sequence[EpisodeSpec], *, student_share: float, temperature: float, top_p: float = 1.0
    ) -> list[Trajectory]:
        """A recorded episode of each spec's goal; which one, and under what names, its seed says.

        Args:
            student_share, temperature, top_p: not read: nothing is played.
        """
        chosen = [self.episodes[spec.goal.id] for spec in specs]
        return [
            replace(own[spec.seed % len(own)], sample=spec.sample, seed=spec.seed)
            for own, spec in zip(chosen, specs, strict=True)
        ]


def recorded_collector(
    path: Path, goals: Sequence[Goal], collector: Collector, *, min_score: float
) -> RecordedCollector:
    """Read a file of records, and play each in the collector's shop.

    Args:
        path: JSONL.
        goals: of the training split; records of others are rejected.
        collector: whose prompts and decoding the episodes get.
        min_score: episodes below are left out.
    Raises: UserError if no record can be learnt from.
    """
    known = by_id(goals)
    episodes: dict[str, list[Trajectory]] = {}
    rejected: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            played = _replayed(line, known, collector)
        except Rejected as reason:
            rejected.append(f"{path}, record {number}: {reason}")
            continue
        if played.score >= min_score:
            episodes.setdefault(played.goal.id, []).append(played)
    if not episodes:
        raise UserError(
            rejected[0] if rejected else f"no episode of {path} scores {min_score:g} or more",
            where="algo.records",
            remedy="records of training goals of this shop: webshop-rl evaluate POLICY split=train",
        )
    return RecordedCollector(episodes, rejected)


def _replayed(line: str, goals: Mapping[str, Goal], collector: Collector) -> Trajectory:
    """A record as an episode of the collector's policy. Raises: Rejected."""
    record = _parsed(line)
    goal = goals.get(record["goal"])
    if goal is None:
        raise Rejected(f"{record['goal']} is not a training goal")
    if goal.instruction != record["instruction"]:
        raise Rejected(f"{goal.id} asks for something else now")
    turns = record["turns"]
    texts: list[str] = []

    def teacher(goal: Goal, pages: Sequence[Page], actions: Sequence[str]) -> str:
        texts.append(pages[-1].text)
        return str(turns[len(actions)]["action"]) if len(actions) < len(turns) else ""

    episode = collector.begin(EpisodeSpec(goal, 0, record["seed"]), teacher=teacher)
    played = episode.trajectory
    while not episode.finished and len(played.turns) < len(turns):
        at = len(played.turns)
        where = f"turn {at + 1}"
        if turns[at]["page"] not in (texts[at], episode.shown):
            raise Rejected(f"{where}: the shop shows another page now")
        action = turns[at]["action"]
        try:
            episode.follow()
        except Unspellable as error:
            raise Rejected(f"{where}: no reply in this page's grammar asks for {action!r}") from error
        if not played.turns[at].valid:
            raise Rejected(f"{where}: {action!r} does nothing")
    if played.end is EndReason.BOUGHT and episode.finished and played.score != record["score"]:
        raise Rejected(f"scores {played.score:g} now, not {record['score']:g}")
    if not played.turns:
        raise Rejected("contains no turn that fits the context")
    return replace(played, labels=[], num_unspellable=0)


def _parsed(line: str) -> dict[str, Any]:
    """A record with the keys that are read. Raises: Rejected."""
    try:
        record = json.loads(line)
        read = {name: record[name] for name in ("goal", "instruction", "seed", "score")}
        read["turns"] = [{name: str(turn[name]) for name in ("page", "action")} for turn in record["turns"]]
        return {**read, "seed": int(read["seed"]), "score": float(read["score"])}
    except ValueError as error:
        raise Rejected("is not a line of JSON of an episode") from error
    except KeyError as error:
        raise Rejected(f"lacks {error.args[0]!r}") from error
    except TypeError as error:
        raise Rejected("is not a line of JSON of an episode") from error
