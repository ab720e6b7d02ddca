"""A renamed shop is the same shop under other names: texts, masks, episodes, log-probs."""

from __future__ import annotations

import copy
import re
import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.agreement import BEHAVIOUR_ATOL, assert_agreement, learnt
from tests.support.shop5_parts import Parts, build
from webshop_rl.envs.words import instruction_words
from webshop_rl.interface.grammar import PageGrammar
from webshop_rl.interface.masks import everything_but
from webshop_rl.interface.prompts import FURNITURE
from webshop_rl.models.renaming import RenamedCodec, Renaming
from webshop_rl.models.tiny_codec import ALWAYS, SEPARATOR, SPECIAL, THINK, TinyCodec
from webshop_rl.rollout.renaming import rename_trajectory
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.batching import action_batch
from webshop_rl.training.collection import renamed_prompter, renamed_transcripts

WORDS = ["red", "blue", "shoes", "shirt", "lamp", "desk", "green", "boots", "x", "12oz", "size", "price"]
CODEC = TinyCodec(
    [" ".join(WORDS), "search click buy now item 1 page next prev"], 256, ["Price: $ item next <prev"]
)
seeds = st.integers(0, 2**32 - 1)


def draw(codec: TinyCodec, seed: int) -> Renaming:
    return Renaming.draw(codec, np.random.default_rng(seed))


def spelled(codec: TinyCodec, ids: NDArray[np.int64]) -> set[str]:
    return {codec.decode([int(i)]) for i in ids}


@given(seeds, st.lists(st.sampled_from([*WORDS, "reddish", "search[", "]", "$9.50", "é", "unseen"])))
@settings(max_examples=60)
def test_what_is_written_is_read_back_in_as_many_tokens(seed: int, words: list[str]) -> None:
    text, codec = " ".join(words), RenamedCodec(CODEC, draw(CODEC, seed))
    assert codec.decode(codec.encode(text)) == CODEC.decode(CODEC.encode(text))
    assert len(codec.encode(text)) == len(CODEC.encode(text))
    frames = [
        (
            c.frame_opening("", text),
            c.frame_page(text, reply_ended=True),
            c.frame_page(text, reply_ended=False),
        )
        for c in (CODEC, codec)
    ]
    for plain, named in zip(*frames, strict=True):
        assert codec.decode(named) == CODEC.decode(plain)
        assert [i for i in named if i in CODEC.special] == [i for i in plain if i in CODEC.special]


@given(seeds)
@settings(max_examples=30)
def test_it_is_a_permutation_of_the_words_and_of_nothing_else(seed: int) -> None:
    renaming = draw(CODEC, seed)
    ids = np.arange(CODEC.vocab_size)
    assert sorted(renaming.names) == ids.tolist()
    assert renaming.original(renaming.tokens(ids.tolist())) == ids.tolist()
    moved = spelled(CODEC, ids[renaming.names != ids])
    assert moved <= {"red", "blue", "shoes", "shirt", "lamp", "desk", "green", "boots", "size", "page"}
    assert len(moved) > 1


def test_furniture_numbers_characters_and_marks_keep_their_names() -> None:
    movable = spelled(CODEC, CODEC.renameable)
    assert movable == {"red", "blue", "shoes", "shirt", "lamp", "desk", "green", "boots", "size", "page"}
    for kept in (*SPECIAL, *THINK, *ALWAYS, "price", "item", "12oz", "x", "9", "$", "##e"):
        assert kept not in movable


@given(seeds, st.lists(st.sampled_from(WORDS[:8]), min_size=1, max_size=5, unique=True))
@settings(max_examples=40, deadline=None)
def test_a_grammar_in_renamed_words_has_the_renamed_masks(seed: int, words: list[str]) -> None:
    renaming, rng = draw(CODEC, seed), np.random.default_rng(seed)
    plain, named = (
        PageGrammar(
            codec.encode, codec.end,
            words=instruction_words(" ".join(words)), targets=["buy now", "red shoes"],
            can_search=True, max_words=3,
        )
        for codec in (CODEC, RenamedCodec(CODEC, renaming))
    )  # fmt: skip
    here, there = plain.start, named.start
    assert plain.max_tokens == named.max_tokens
    while True:
        mask = plain.mask(here)
        expected = renaming.mask(mask)
        assert expected is not None
        assert np.array_equal(named.mask(there).ids, expected.ids)
        token = int(rng.choice(mask.ids))
        if token == CODEC.end:
            break
        here, there = plain.advance(here, token), named.advance(there, renaming.tokens([token])[0])
    assert plain.action(here) == named.action(there)


def test_a_complement_stays_a_complement() -> None:
    renaming = draw(CODEC, 1)
    mask = renaming.mask(everything_but(CODEC.renameable[:3].tolist()))
    assert mask is not None
    assert mask.complement
    assert sorted(renaming.original(mask.ids)) == CODEC.renameable[:3].tolist()
    assert mask.ids.tolist() == sorted(mask.ids)
    assert renaming.mask(None) is None


COPY = ("model.pointer=true", "model.smear=true")
SHOPS = {
    "shop5": ("env.distractors=2", *COPY),
    "webshop": ("env=webshop", *COPY, "model.max_page_tokens=200", "rollout.max_query_words=4"),
    "webshop, compact pages": (
        "env=webshop", "view.pages=compact", "view.option_tokens=1", "rollout.list_actions=true",
        "env.max_steps=12",
    ),
    "webshop, windows": (
        "env=webshop", "view.pages=compact", "view.option_tokens=1", "rollout.list_actions=true",
        "rollout.history=window:3", "rollout.queries=window", "env.max_steps=12",
    ),
    "webshop, marks, free": (
        "env=webshop", "env.mode=text_rich", "rollout.decoding=free", "rollout.max_reply_tokens=12",
        "rollout.context_overflow=drop_oldest", "model.context_tokens=200",
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=SHOPS)
def parts(request: pytest.FixtureRequest, mini_data_dir: Path) -> Parts:
    overrides = SHOPS[request.param]
    if "env=webshop" in overrides:
        overrides = (*overrides, f"env.data_dir={mini_data_dir}", "env.num_products=null", "env.split=none")
    return build(*overrides)


def codec_of(parts: Parts) -> TinyCodec:
    codec = parts.agent.codec
    assert isinstance(codec, TinyCodec)
    return codec


def relabelled(parts: Parts, renaming: Renaming) -> Parts:
    """The same policy, for one who calls the words by their new names."""
    network = copy.deepcopy(parts.agent.network)
    table = network.causal_lm.get_input_embeddings().weight
    with torch.no_grad():
        table.copy_(table[torch.as_tensor(renaming.meanings)])
    return replace(parts, agent=replace(parts.agent, network=network))


def assert_renamed(named: list[Trajectory], plain: list[Trajectory], renaming: Renaming) -> None:
    for a, b in zip(named, plain, strict=True):
        assert (a.score, a.end, a.turns) == (b.score, b.end, b.turns)
        for one, other in zip(a.segments, b.segments, strict=True):
            assert one.tokens == renaming.tokens(other.tokens)
            assert (one.action, one.decision, one.turns) == (other.action, other.decision, other.turns)
            assert one.masks.keys() == other.masks.keys()
            for at, mask in other.masks.items():
                expected = renaming.mask(mask)
                assert expected is not None
                assert np.array_equal(one.masks[at].ids, expected.ids)
                assert one.masks[at].complement == expected.complement
            assert one.logprobs == pytest.approx(other.logprobs, abs=BEHAVIOUR_ATOL)


def test_a_renamed_shop_is_played_as_the_shop_itself_by_who_knows_the_names(parts: Parts) -> None:
    renaming = draw(codec_of(parts), 3)
    prompter = replace(parts.collector.prompter, codec=RenamedCodec(codec_of(parts), renaming))
    specs = parts.specs(6)
    plain = parts.collector.collect(specs, temperature=0)
    agent = relabelled(parts, renaming).agent
    named = parts.collector.collect(specs, temperature=0, agent=agent, prompter=prompter)
    assert any(turn.valid for t in plain for turn in t.turns) or parts.cfg.rollout.decoding == "free"
    assert [s.tokens for t in plain for s in t.segments] != [s.tokens for t in named for s in t.segments]
    assert_renamed(named, plain, renaming)
    assert_renamed([rename_trajectory(t, renaming) for t in plain], plain, renaming)


def test_the_log_probs_of_a_renamed_trajectory_are_those_it_was_sampled_with(parts: Parts) -> None:
    renaming, played = draw(codec_of(parts), 4), parts.collect(5)
    tokens = [list(s.tokens) for t in played for s in t.segments]
    named = [rename_trajectory(t, renaming) for t in played]
    assert [s.tokens for t in played for s in t.segments] == tokens  # nothing is changed in place
    assert_agreement(relabelled(parts, renaming), named, 10**6)
    other = learnt(parts, named, 10**6)
    assert not torch.allclose(other, action_batch(named).behaviour_logprobs, atol=0.01)


def test_a_policy_that_does_not_know_the_names_is_sampled_and_learnt_alike(parts: Parts) -> None:
    prompter = renamed_prompter(parts.collector.prompter, 1.0, 0, 7)
    rollout = parts.cfg.rollout
    played = parts.collector.collect(
        parts.specs(6), temperature=rollout.temperature, top_p=rollout.top_p, prompter=prompter
    )
    assert_agreement(parts, played, 1, 10**6)


def test_no_word_of_a_page_alone_can_be_renamed(parts: Parts) -> None:
    codec = codec_of(parts)
    pages = " ".join([*parts.shop.furniture(), *FURNITURE])
    assert not {*codec.encode(pages)} & {*codec.renameable.tolist()}
    words = spelled(codec, codec.renameable)
    assert len(words) > 5
    assert all(word.isalpha() and len(word) > 1 and word[0] not in string.punctuation for word in words)


def words_of(text: str) -> set[str]:
    return {*re.findall("[a-z]+", text.lower())}


def test_every_word_that_is_shown_is_of_the_goal_of_a_product_or_of_the_furniture(parts: Parts) -> None:
    """A view that says something new must say it in its furniture, or its words would be renamed."""
    furniture = words_of(" ".join([*parts.shop.furniture(), *FURNITURE, *ALWAYS, SEPARATOR]))
    others = words_of(" ".join(s for s in parts.shop.texts() if s not in {*parts.shop.furniture()}))
    said = {word for t in parts.collect(30) for turn in t.turns for word in words_of(turn.page)}
    products = words_of(" ".join(goal.instruction for goal in parts.shop.goals("all"))) | others
    assert said - furniture <= products
    if parts.cfg.view.pages == "compact":
        # In a window every page is shown anew.
        repeated = {"sub"} if parts.cfg.rollout.past_turns is not None else {"same"}
        assert {"chosen", "cut", "actions"} | repeated <= said
        assert not {"same", "chosen", "cut", "actions"} & products


def test_a_collection_is_renamed_as_often_as_asked_and_always_alike(parts: Parts) -> None:
    prompter = parts.collector.prompter
    assert renamed_prompter(prompter, 0.0, 5, 1) is prompter
    drawn = [renamed_prompter(prompter, 0.5, i, 1) for i in range(200)]
    assert 70 < sum(p is not prompter for p in drawn) < 130
    text = next(iter(parts.shop.goals("train"))).instruction
    again = [renamed_prompter(prompter, 0.5, i, 1).codec.encode(text) for i in range(200)]
    assert [p.codec.encode(text) for p in drawn] == again
    assert len({tuple(ids) for ids in again}) > 20
    assert [renamed_prompter(prompter, 1.0, i, 2).codec.encode(text) for i in range(200)] != again


def test_each_transcript_to_be_cloned_has_names_of_its_own(parts: Parts) -> None:
    codec, played = codec_of(parts), [replace(t, seed=s) for t in parts.collect(2) for s in range(40)]
    found = renamed_transcripts(played, codec, 0.5)
    changed = [a.segments[0].tokens for a, b in zip(found, played, strict=True) if a is not b]
    assert 25 < len(changed) < 55
    assert len({tuple(tokens) for tokens in changed}) == len(changed)
    again = renamed_transcripts(played, codec, 0.5)
    assert [t.segments[0].tokens for t in found] == [t.segments[0].tokens for t in again]
    assert renamed_transcripts(played, codec, 0.0) == played
