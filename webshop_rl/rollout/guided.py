"""Episodes to be cloned: played by a teacher, or by the student with the teacher's labels on its pages.

A labelled episode of the student becomes segments that differ from what was played in what is learnt:

    played      <prompt, page 0> reply 0 <page 1> reply 1 <page 2> reply 2    teacher: agrees, differs, agrees
    trunk       <prompt, page 0> REPLY 0 <page 1> reply 1 <page 2> REPLY 2    capitals: action tokens
    a branch    <prompt, page 0> reply 0 <page 1> THE TEACHER'S REPLY

Where the two agree, the trunk's reply is learnt; where they differ it is context, and a branch has the reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from webshop_rl.envs.types import Goal
from webshop_rl.interface.grammar import Unspellable
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import EpisodeSpec, Teacher
from webshop_rl.rollout.types import Label, Segment, Trajectory


class Demonstrations(Protocol):
    """Where an algorithm that clones has its episodes from."""

    def demonstrated(self, goals: Sequence[Goal]) -> Sequence[Goal]:
        """Those of the goals that there are demonstrations of."""
        ...

    def collect(
        self, specs: Sequence[EpisodeSpec], *, student_share: float, temperature: float, top_p: float = 1.0
    ) -> list[Trajectory]:
        """Episodes of the specs' goals, in which the replies to learn are action tokens."""
        ...


class GuidedCollector:
    """Collects what a student is to learn from a teacher.

    Args:
        collector: of the student's episodes.
        teacher: says what to do on any page.
        min_score: of the episodes that the teacher plays, those below are not learnt from.
    """

    def __init__(self, collector: Collector, teacher: Teacher, *, min_score: float = 0.0) -> None:
        self._collector = collector
        self._teacher = teacher
        self._min_score = min_score

    def demonstrated(self, goals: Sequence[Goal]) -> Sequence[Goal]:
        """All of them: the teacher is asked afresh."""
        return goals

    def collect(
        self, specs: Sequence[EpisodeSpec], *, student_share: float, temperature: float, top_p: float = 1.0
    ) -> list[Trajectory]:
        """Labelled trajectories, those of the student's episodes first.

        Args:
            student_share: of the episodes, from 0 to 1, those that the student plays: the first of specs.
            temperature, top_p: of the student's sampling.
        """
        number = round(student_share * len(specs))
        driven = self._collector.collect(
            specs[:number], temperature=temperature, top_p=top_p, teacher=self._teacher
        )
        shown = [self.demonstrate(spec) for spec in specs[number:]]
        worth = [t if t.score >= self._min_score else replace(t, segments=[]) for t in shown]
        return [*map(labelled, driven), *worth]

    def demonstrate(self, spec: EpisodeSpec) -> Trajectory:
        """An episode that the teacher plays, as far as its replies can be spelled; no network is asked."""
        episode = self._collector.begin(spec, teacher=self._teacher)
        while not episode.finished:
            try:
                episode.follow()
            except Unspellable:
                break
        return replace(episode.trajectory, labels=[])


def labelled(trajectory: Trajectory) -> Trajectory:
    """A played episode with the teacher's replies to learn in place of the student's; see the drawing."""
    trunk: list[Segment] = []
    branches: list[Segment] = []
    for place, segment in enumerate(trajectory.segments):
        labels = [label for label in trajectory.labels if label.segment == place]
        differing = [label for label in labels if not _agrees(segment, label)]
        agreed = {label.turn for label in labels} - {label.turn for label in differing}
        trunk += _only(segment, agreed)
        branches += [_branch(segment, label) for label in differing]
    kinds = {label.turn: label.kind for label in trajectory.labels}
    turns = [replace(turn, kind=kinds.get(k, turn.kind)) for k, turn in enumerate(trajectory.turns)]
    return replace(trajectory, segments=[*trunk, *branches], turns=turns, labels=[])


def _agrees(segment: Segment, label: Label) -> bool:
    """Whether the student replied as the teacher would, token by token."""
    end = label.start + len(label.tokens)
    followed = end < len(segment.tokens) and segment.turns[end] == label.turn
    return segment.tokens[label.start : end] == label.tokens and not followed


def _only(segment: Segment, turns: set[int]) -> list[Segment]:
    """The segment with the replies of these turns alone to learn, up to the last of them; [] if none is."""
    kept = [turn in turns for turn in segment.turns]
    if not any(kept):
        return []
    end = len(kept) - kept[::-1].index(True)
    return [
        Segment(
            tokens=segment.tokens[:end],
            action=kept[:end],
            decision=[flag and keep for flag, keep in zip(segment.decision, kept[:end], strict=False)],
            logprobs=[
                value if keep else 0.0 for value, keep in zip(segment.logprobs, kept[:end], strict=False)
            ],
            turns=[turn if keep else -1 for turn, keep in zip(segment.turns, kept[:end], strict=False)],
            masks={at: mask for at, mask in segment.masks.items() if kept[at]},
        )
    ]


def _branch(segment: Segment, label: Label) -> Segment:
    """All that the student had read before the reply, then the teacher's reply."""
    branch = Segment()
    branch.append_context(segment.tokens[: label.start])
    for token, mask in zip(label.tokens, label.masks, strict=True):
        choice = mask is None or mask.forced is None
        branch.append_action(token, 0.0, label.turn, mask, decision=choice)
    return branch
