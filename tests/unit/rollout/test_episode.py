"""One episode token by token: the drawings of rollout.types and algos.algorithm, and the context limit."""

from __future__ import annotations

import pytest
import torch

from tests.support.shop5_parts import Parts, build
from webshop_rl.envs.types import EndReason
from webshop_rl.rollout.episode import Episode, EpisodeSpec, episode_seed
from webshop_rl.rollout.packing import pack
from webshop_rl.training.batching import action_batch


def act(parts: Parts, actions: list[str], *, keep_last_page: bool = False, think: bool = False) -> Episode:
    """Play the goal of the red shoes by hand; each token sampled with log-prob -0.5."""
    spec = EpisodeSpec(parts.shop.goals("train")[0], 0, seed=7)
    episode = Episode(
        spec,
        parts.shop.session(),
        parts.acting.prompter,
        parts.acting.rollout,
        parts.agent.context_tokens,
        keep_last_page=keep_last_page,
    )
    return play(parts, episode, actions)


def play(parts: Parts, episode: Episode, actions: list[str]) -> Episode:
    """Send these actions token by token."""
    codec = parts.agent.codec
    for action in actions:
        wanted = [*codec.encode(action), codec.end]
        turn = len(episode.trajectory.turns)
        while not episode.finished and len(episode.trajectory.turns) == turn:
            done = sum(t == turn for t in episode.trajectory.segments[-1].turns)
            episode.push(wanted[done], -0.5, episode.mask())
    return episode


def test_two_turns_as_drawn() -> None:
    """tokens   <prompt and page 0> search [ red ] <eos> <page 1> click [ 1 ] <eos> <page 2>
    action    0  0  0  0  0  0     1    1  1  1   1    0  0  0   1   1 1 1   1    0  0  0
    decision                       0    0  1  1   0              1   0 1 0   0
    turn                           0    0  0  0   0              1   1 1 1   1
    """
    parts = build("env.max_steps=2")
    codec = parts.agent.codec
    episode = act(parts, ["search[red]", "click[1]"], keep_last_page=True)
    (segment,) = episode.trajectory.segments
    page0 = "instruction: [SEP] i want to buy red shoes [SEP] search"
    page1 = "back to search [SEP] results: 1 [SEP] 1 red shoes $45"
    page2 = "back to search [SEP] red shoes $45 [SEP] buy now"
    bos, page, act_mark = (codec.encode(t)[0] for t in ("<bos>", "<page>", "<act>"))
    pieces = [
        ([bos, *codec.encode(page0), act_mark], -1),
        ([*codec.encode("search [ red ]"), codec.end], 0),
        ([page, *codec.encode(page1), act_mark], -1),
        ([*codec.encode("click [ 1 ]"), codec.end], 1),
        ([page, *codec.encode(page2), act_mark], -1),
    ]
    assert segment.tokens == [token for tokens, _ in pieces for token in tokens]
    assert segment.turns == [turn for tokens, turn in pieces for _ in tokens]
    assert segment.action == [turn >= 0 for turn in segment.turns]
    # "search" can be chosen alone on page 0 and "[" follows: forced. On page 1 search or click.
    replies = [i for i, is_action in enumerate(segment.action) if is_action]
    logprobs = [segment.logprobs[i] for i in replies]
    #                search  [    red   ]    eos  click  [   1     ]    eos
    assert logprobs == [0.0, 0.0, -0.5, -0.5, 0.0, -0.5, 0.0, -0.5, 0.0, 0.0]
    assert [i for i, is_decision in enumerate(segment.decision) if is_decision] == [
        i for i in replies if segment.logprobs[i] < 0
    ]
    assert (episode.trajectory.num_action_tokens, episode.trajectory.num_decisions) == (10, 4)
    assert sorted(segment.masks) == replies
    assert all((segment.masks[i].forced is not None) == (segment.logprobs[i] == 0) for i in replies)

    first, second = episode.trajectory.turns
    assert (first.action, second.action) == ("search[red]", "click[1]")
    assert (first.reward, second.reward) == (0.3, 0.3)
    assert episode.trajectory.end == EndReason.MAX_STEPS
    # Nothing was bought: the rewards on the way (.3 and .3) are no score.
    assert (episode.trajectory.score, episode.trajectory.success) == (0.0, False)

    # What the algorithm sees: the 1s only, packed to the left, turn = 0 0 0 0 0 1 1 1 1 1.
    batch = action_batch([episode.trajectory])
    assert batch.turn.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]]
    assert batch.mask.all()
    assert batch.decision[0].tolist() == [p < 0 for p in logprobs]
    assert batch.behaviour_logprobs[0].tolist() == logprobs
    assert batch.rewards[0].tolist() == pytest.approx([0.3, 0.3])
    assert batch.terminated.tolist() == [False]

    # Where the critic reads: before each turn, and behind the last page.
    packed = pack([episode.trajectory], num_tokens=10, num_turns=2, pad=codec.pad, device=torch.device("cpu"))
    lengths = [len(tokens) for tokens, _ in pieces]
    before = [lengths[0] - 1, sum(lengths[:3]) - 1, sum(lengths) - 1]
    assert packed.inputs.value_position.tolist() == before
    assert packed.value_column.tolist() == [0, 1, 2]
    # Decisions are the four tokens with a choice, each predicted at the position before it.
    assert packed.inputs.position.tolist() == [i - 1 for i, p in zip(replies, logprobs, strict=True) if p]
    assert packed.token_column.tolist() == [2, 3, 5, 7]


def test_buying_ends_the_episode_and_nothing_is_asked_any_more() -> None:
    parts = build()
    episode = act(parts, ["search[red]", "click[1]", "click[buy now]"])
    assert episode.finished
    assert episode.trajectory.end == EndReason.BOUGHT
    assert episode.trajectory.success
    assert episode.trajectory.episode_return == pytest.approx(1.6)
    assert episode.trajectory.segments[-1].action[-1]  # no page after the end


def test_a_turn_says_which_products_were_on_its_page_and_the_episode_what_was_bought() -> None:
    trajectory = act(build(), ["search[red]", "click[1]", "click[buy now]"]).trajectory
    seen = [(turn.page_kind, turn.asins, turn.kind) for turn in trajectory.turns]
    red_shoes = trajectory.goal.asin
    assert seen == [("search", (), "query"), ("results", (red_shoes,), "open"), ("item", (red_shoes,), "buy")]
    assert trajectory.bought == red_shoes
    assert act(build("env.max_steps=2"), ["search[red]", "click[1]"]).trajectory.bought == ""


def test_dropping_old_turns_starts_a_segment_with_its_own_prompt() -> None:
    parts = build("rollout.context_overflow=drop_oldest")
    parts.agent.context_tokens = 38  # page 0 is 13 tokens, reply 0 is 5, page 1 is 13, a reply at most 11
    episode = act(parts, ["search[red]", "click[1]"])
    first, second = episode.trajectory.segments[:2]
    codec = parts.agent.codec
    goal = codec.encode("instruction: [SEP] i want to buy red shoes [SEP]")
    assert second.tokens[1 : 1 + len(goal)] == goal
    assert [t for t in (*first.turns, *second.turns) if t >= 0] == [0] * 5 + [1] * 5
    assert episode.restarted


def test_a_window_shows_the_last_actions_and_the_page_in_a_segment_a_turn() -> None:
    parts = build("rollout.history=window:2", "env.max_steps=5")
    actions = ["search[red]", "click[1]", "click[back to search]", "search[shoes]", "click[1]"]
    segments = act(parts, actions, keep_last_page=True).trajectory.segments
    codec = parts.agent.codec
    asked = "instruction: [SEP] i want to buy red shoes [SEP] "
    found = "back to search [SEP] results: 1 [SEP] 1 red shoes $45"
    shoes = "back to search [SEP] red shoes $45 [SEP] buy now"
    prompts = [
        asked + "search",
        "search: search[red] " + asked + found,
        "search: search[red] results: click[1] " + asked + shoes,
        "results: click[1] item red shoes: click[back to search] " + asked + "search",
        "item red shoes: click[back to search] search: search[shoes] " + asked + found,
        "search: search[shoes] results: click[1] " + asked + shoes,
    ]
    assert len(segments) == 6
    for place, (segment, prompt) in enumerate(zip(segments, prompts, strict=True)):
        opening = [codec.encode("<bos>")[0], *codec.encode(prompt), codec.encode("<act>")[0]]
        assert segment.tokens[: len(opening)] == opening
        reply = [] if place == 5 else [*codec.encode(actions[place]), codec.end]
        assert segment.tokens[len(opening) :] == reply
        assert segment.turns == [-1] * len(opening) + [place] * len(reply)


def test_a_critic_reads_the_page_of_each_turn_and_the_one_behind_a_truncation() -> None:
    parts = build("rollout.history=window:1", "env.max_steps=2")
    trajectory = act(parts, ["search[red]", "click[1]"], keep_last_page=True).trajectory
    pad = parts.agent.codec.pad
    packed = pack([trajectory], num_tokens=10, num_turns=2, pad=pad, device=torch.device("cpu"))
    ends = [segment.action.index(True) - 1 for segment in trajectory.segments[:2]]
    assert packed.inputs.value_row.tolist() == [0, 1, 2]
    assert packed.inputs.value_position.tolist() == [*ends, len(trajectory.segments[2].tokens) - 1]
    assert packed.value_column.tolist() == [0, 1, 2]


@pytest.mark.parametrize("shown", [(), ("view=compact",), ("rollout.history=window:1",)])
def test_the_record_of_a_turn_is_what_was_read(shown: tuple[str, ...]) -> None:
    """Not what the shop printed: cut as the policy's was, with the reminders of a window."""
    parts = build("model.max_page_tokens=16", "env.distractors=4", *shown)
    trajectory = act(parts, ["search[red]", "click[1]"]).trajectory
    tokens = [token for segment in trajectory.segments for token in segment.tokens]
    read = parts.agent.codec.decode(tokens).lower().replace(" ", "")
    for turn in trajectory.turns:
        assert "".join(turn.page.lower().split()) in read
    assert trajectory.turns[0].page.endswith(" ...") == (shown != ("view=compact",))


@pytest.mark.parametrize("history", ["transcript", "window:1"])
def test_pages_are_numbered_by_their_turns(history: str) -> None:
    parts = build("view=compact", "view.turn_numbers=true", f"rollout.history={history}")
    turns = act(parts, ["search[red]", "click[1]", "click[back to search]"]).trajectory.turns
    assert [turn.page.splitlines()[-1] for turn in turns] == ["turn 1", "turn 2", "turn 3"]


def test_a_page_that_does_not_fit_beside_the_past_ends_the_episode() -> None:
    parts = build("rollout.history=window:2")
    parts.agent.context_tokens = 38
    episode = act(parts, ["search[red]"], keep_last_page=True)
    assert episode.trajectory.end == EndReason.CONTEXT
    assert len(episode.trajectory.segments) == 2  # the page alone fits, and is kept
    assert not any(episode.trajectory.segments[1].action)
    parts.agent.context_tokens = 30
    assert len(act(parts, ["search[red]"], keep_last_page=True).trajectory.segments) == 1


def test_a_transcript_that_outgrew_the_context_ends_and_says_so() -> None:
    parts = build()
    parts.agent.context_tokens = 38
    episode = act(parts, ["search[red]"])
    assert episode.finished
    assert episode.trajectory.end == EndReason.CONTEXT
    assert not episode.trajectory.terminated


@pytest.mark.parametrize("context_tokens", [38, 27, 22])
def test_the_page_that_outgrew_the_context_is_kept_for_a_critic(context_tokens: int) -> None:
    """Page 1 is 13 tokens after the 18 of page 0 and its reply: whole, cut, and with no room at all."""
    parts = build()
    codec = parts.agent.codec
    parts.agent.context_tokens = 38
    spec = EpisodeSpec(parts.shop.goals("train")[0], 0, seed=7)
    session, acting = parts.shop.session(), parts.acting
    episode = Episode(spec, session, acting.prompter, acting.rollout, 38, keep_last_page=True)
    episode._context_tokens = context_tokens  # the first page was read, then the room shrank
    play(parts, episode, ["search[red]"])
    assert episode.trajectory.end == EndReason.CONTEXT
    (segment,) = episode.trajectory.segments
    after = segment.tokens[18:]
    whole = [
        codec.encode("<page>")[0],
        *codec.encode("back to search [SEP] results: 1 [SEP] 1 red shoes $45"),
        codec.encode("<act>")[0],
    ]
    assert len(segment.tokens) <= context_tokens
    assert not any(segment.action[18:])
    if context_tokens == 38:
        assert after == whole
    elif context_tokens == 27:
        # The frame stays, so that the critic reads where it always does.
        assert (after[0], after[-1]) == (whole[0], whole[-1])
        assert 2 < len(after) <= 9
        assert after[1:3] == whole[1:3]
    else:
        assert after == []


def test_a_first_page_that_does_not_fit_gives_an_episode_without_turns() -> None:
    parts = build()
    parts.agent.context_tokens = 20
    (trajectory,) = parts.collect(1)
    assert (trajectory.turns, trajectory.segments, trajectory.end) == ([], [], EndReason.CONTEXT)


@pytest.mark.parametrize("decoding", ["admissible", "free"])
@pytest.mark.parametrize("think", [False, True])
@pytest.mark.parametrize("overflow", ["truncate", "drop_oldest"])
def test_no_reply_outgrows_the_context(decoding: str, think: bool, overflow: str) -> None:
    """Neither a long admissible query nor the marks around a thought."""
    parts = build(
        f"rollout.decoding={decoding}",
        f"rollout.think={think}",
        f"rollout.context_overflow={overflow}",
        "rollout.max_reply_tokens=2",
        "rollout.max_think_tokens=2",
        "env.distractors=4",
        "model.context_tokens=72",
        "env.max_steps=10",
    )
    trajectories = parts.collect(20)
    longest = max(len(s.tokens) for t in trajectories for s in t.segments)
    assert 48 < longest <= 72


def test_episode_seed_is_the_same_everywhere() -> None:
    # First 8 bytes of SHA-256 of "train\x000\x001", as a number, halved.
    assert (
        episode_seed("train", 0, 1)
        == int.from_bytes(__import__("hashlib").sha256(b"train\x000\x001").digest()[:8], "big") // 2
    )
    assert episode_seed("a", 1) != episode_seed("a1")
