"""Episodes to be cloned: a teacher's replies, spelled as the policy's are, and its labels of a student's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from tests.support.shop5_parts import Parts, build
from webshop_rl.envs.backtrack import BacktrackPolicy
from webshop_rl.envs.demonstrators import Demonstrator, scripted_act
from webshop_rl.envs.scripted import run_episode
from webshop_rl.envs.types import Goal, Page
from webshop_rl.interface.masks import only
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.guided import GuidedCollector, labelled
from webshop_rl.rollout.packing import pack
from webshop_rl.rollout.types import Label, Segment, Trajectory, Turn
from webshop_rl.training.batching import batch_shape


def _teacher(parts: Parts) -> Demonstrator:
    return Demonstrator(parts.shop.answers(), parts.shop.max_steps)


@pytest.mark.parametrize("settings", [(), ("rollout.decoding=free",), ("rollout.think=true",)])
def test_a_demonstration_is_what_sampling_its_tokens_gives(settings: tuple[str, ...]) -> None:
    parts = build("env.distractors=2", "env.max_steps=10", *settings)
    guided = GuidedCollector(parts.collector, _teacher(parts).act)
    for spec in parts.specs(5):
        shown = guided.demonstrate(spec)
        assert shown.success
        assert [turn.kind for turn in shown.turns] == ["query", "open", "buy"]
        sampled = parts.collector.begin(spec)
        while not sampled.finished:
            at = len(sampled.trajectory.segments[-1].tokens)
            sampled.push(shown.segments[0].tokens[at], 0.0, sampled.mask())
        for name in ("tokens", "action", "decision", "turns"):
            assert getattr(shown.segments[0], name) == getattr(sampled.trajectory.segments[0], name)
        assert shown.turns == sampled.trajectory.turns
        masks, others = shown.segments[0].masks, sampled.trajectory.segments[0].masks
        assert masks.keys() == others.keys()
        assert all(masks[at].ids.tolist() == others[at].ids.tolist() for at in masks)


def test_the_learner_gives_every_reply_of_a_demonstration_a_probability() -> None:
    parts = build("env.distractors=4")
    guided = GuidedCollector(parts.collector, _teacher(parts).act)
    shown = [guided.demonstrate(spec) for spec in parts.specs(5)]
    tokens, turns = batch_shape(shown)
    packed = pack(
        shown, num_tokens=tokens, num_turns=turns, pad=parts.agent.codec.pad, device=torch.device("cpu")
    )
    outputs = parts.agent.network(packed.inputs, 1.0)
    assert torch.isfinite(outputs.logprobs).all()
    assert len(outputs.logprobs) == sum(t.num_decisions for t in shown) > 0


def test_a_reply_that_cannot_be_spelled_is_counted_and_ends_a_demonstration() -> None:
    parts = build()

    def stray(goal: Goal, pages: Sequence[Page], actions: Sequence[str]) -> str:
        return "search[red]" if not actions else "click[no such thing]"

    guided = GuidedCollector(parts.collector, stray)
    shown = guided.demonstrate(parts.specs(1)[0])
    assert ([turn.action for turn in shown.turns], shown.num_unspellable) == (["search[red]"], 1)
    for query in ("red white", "shoes red", "search[", ""):  # not words of the instruction, in its order
        guided = GuidedCollector(parts.collector, lambda *_, query=query: f"search[{query}]")
        shown = guided.demonstrate(parts.specs(1)[0])
        assert (shown.turns, shown.num_unspellable) == ([], 1)


def _played(agreeing: set[int]) -> Trajectory:
    """Three turns `<page> a b`, of tokens 10 k + 0, 1, 2; the teacher says 7 8 9 where it differs."""
    segment, turns, labels, mask = Segment(), [], [], only([1, 2, 3])
    for turn in range(3):
        segment.append_context([10 * turn])
        start = len(segment.tokens)
        tokens = [10 * turn + 1, 10 * turn + 2] if turn in agreeing else [7, 8, 9]
        labels.append(Label(turn, 0, start, "", "back", tokens, [mask] * len(tokens)))
        segment.append_action(10 * turn + 1, -0.5, turn, mask)
        segment.append_action(10 * turn + 2, -0.25, turn, only([2]), decision=False)
        turns.append(Turn("", "", "", 0.0, True, kind="open"))
    return Trajectory(Goal("g", "p", ""), 0, 0, segments=[segment], turns=turns, labels=labels)


def test_labels_as_drawn() -> None:
    trunk, branch = labelled(_played({0, 2})).segments
    assert trunk.tokens == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert trunk.turns == [-1, 0, 0, -1, -1, -1, -1, 2, 2]
    assert trunk.action == [turn >= 0 for turn in trunk.turns]
    assert trunk.decision == [False, True, False, False, False, False, False, True, False]
    assert sorted(trunk.masks) == [1, 2, 7, 8]
    assert branch.tokens == [0, 1, 2, 10, 7, 8, 9]
    assert branch.turns == [-1, -1, -1, -1, 1, 1, 1]
    assert (branch.action, sorted(branch.masks)) == ([False] * 4 + [True] * 3, [4, 5, 6])


def test_a_trunk_ends_at_its_last_label_and_goes_without_any() -> None:
    trunk, *branches = labelled(_played({0})).segments
    assert (trunk.tokens, trunk.turns) == ([0, 1, 2], [-1, 0, 0])
    assert [branch.tokens[-4:] for branch in branches] == [[10, 7, 8, 9], [20, 7, 8, 9]]
    found = labelled(_played(set()))
    assert [branch.turns[-1] for branch in found.segments] == [0, 1, 2]
    assert [turn.kind for turn in found.turns] == ["back"] * 3
    (whole,) = labelled(_played({0, 1, 2})).segments
    assert whole.tokens == _played(set()).segments[0].tokens


def test_the_student_plays_its_share_and_learns_what_the_teacher_would_do() -> None:
    parts = build("env.distractors=4")
    teacher = _teacher(parts)
    guided = GuidedCollector(parts.collector, teacher.act)
    specs = parts.specs(8)
    found = guided.collect(specs, student_share=0.5, temperature=1.0)
    alone = parts.collector.collect(specs[:4], temperature=1.0)
    assert [t.sample for t in found] == [spec.sample for spec in specs]
    for mine, played in zip(found, alone, strict=False):  # looked at, the student plays as it does alone
        assert [turn.action for turn in mine.turns] == [turn.action for turn in played.turns]
    for trajectory in found[:4]:
        pages_replied_to = sorted({t for s in trajectory.segments for t in s.turns if t >= 0})
        assert pages_replied_to == list(range(len(trajectory.turns)))
        assert trajectory.turns[0].kind == "query"
    assert any(len(trajectory.segments) > 1 for trajectory in found[:4])
    assert all(trajectory.success for trajectory in found[4:])


def test_a_scripted_query_is_spelled_in_the_words_of_the_grammar() -> None:
    """The policy copies "with color: navy" from the instruction; a reply has no colon."""
    parts = build("env=stage3", "rollout.queries=window", "rollout.max_query_words=null")
    goals = [goal for goal in parts.shop.goals("train") if " color: " in goal.instruction]
    guided = GuidedCollector(parts.collector, scripted_act("backtrack"))
    for spec in [EpisodeSpec(goal, 0, seed) for seed, goal in enumerate(goals[:4])]:
        shown = guided.demonstrate(spec)
        played = run_episode(parts.shop.session(), BacktrackPolicy(), spec.goal, spec.seed)
        assert ": " in played.actions[0]
        assert ":" not in shown.turns[0].action
        assert [turn.action for turn in shown.turns[1:]] == played.actions[1:]
        assert shown.score == played.score
    driven = guided.collect([EpisodeSpec(goals[0], 0, 5)], student_share=1.0, temperature=1.0)
    assert driven[0].segments  # on the pages of a policy with random weights there was something to learn
