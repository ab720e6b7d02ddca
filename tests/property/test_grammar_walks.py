"""Whatever a masked policy says is an action the page accepts, under any tokenizer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from webshop_rl.envs.words import instruction_words
from webshop_rl.interface.grammar import PageGrammar
from webshop_rl.interface.masks import TokenMask
from webshop_rl.models.tiny_codec import TinyCodec

END = 1_000_000
MERGES = sorted(
    ["se", "sea", "rch[", "click[b", "b", "a", "ab", " a", " ab", "ab a", "]", "b]", "a]"], key=len
)


def letters(text: str) -> list[int]:
    return [ord(c) for c in text]


def greedy(text: str) -> list[int]:
    """Longest known piece first, else a character: tokens that straddle words and brackets."""
    ids = []
    while text:
        piece = next((m for m in reversed(MERGES) if text.startswith(m)), text[0])
        ids.append(2_000_000 + MERGES.index(piece) if piece in MERGES else ord(piece))
        text = text[len(piece) :]
    return ids


_CODEC = TinyCodec(["red shoes a ab blue search click [ ]"], 128)
ENCODERS: list[Callable[[str], list[int]]] = [letters, greedy, _CODEC.encode]
words = st.lists(st.text("abc-é", min_size=1, max_size=4), max_size=7)
targets = st.lists(
    st.text("ab1 ", min_size=1, max_size=5).map(str.strip).filter(bool), unique=True, max_size=4
)


def allowed(mask: TokenMask) -> list[int]:
    assert not mask.complement
    return [int(i) for i in mask.ids]


def is_window(query: list[str], from_words: list[str]) -> bool:
    """Whether the query's words stand in from_words side by side."""
    return any(from_words[at : at + len(query)] == query for at in range(len(from_words)))


def is_choice(query: list[str], from_words: list[str]) -> bool:
    """Whether the query's words stand in from_words in this order."""
    rest = iter(from_words)
    return all(word in rest for word in query)


@settings(max_examples=150, deadline=None)
@given(
    words,
    targets,
    st.booleans(),
    st.none() | st.integers(1, 4),
    st.booleans(),
    st.sampled_from(ENCODERS),
    st.integers(0, 2**32),
)
def test_every_walk_ends_in_an_action_of_the_page(
    chosen: list[str],
    clicks: list[str],
    search: bool,
    most: int | None,
    window: bool,
    encode: Callable[[str], list[int]],
    seed: int,
) -> None:
    from_words = list(instruction_words(" ".join(chosen)))
    given_ = {"words": from_words, "targets": clicks, "can_search": search}
    grammar = PageGrammar(encode, END, **given_, max_words=most, window=window)
    walk = random.Random(seed)
    state, length = grammar.start, 0
    while True:
        token = walk.choice(allowed(grammar.mask(state)))
        length += 1
        assert length <= grammar.max_tokens
        if token == END:
            break
        state = grammar.advance(state, token)
    action = grammar.action(state)
    if action is None:
        assert not clicks
        assert not (search and from_words)
    elif action.startswith("click["):
        assert action[6:-1] in clicks
    else:
        query = action.removeprefix("search[").removesuffix("]").split(" ")
        assert search
        assert 1 <= len(query) <= (most or len(from_words))
        assert (is_window if window else is_choice)(query, from_words)


@settings(max_examples=60, deadline=None)
@given(words, targets, st.integers(1, 3), st.sampled_from([letters, greedy]))
def test_every_action_of_the_page_can_be_said(
    chosen: list[str], clicks: list[str], most: int, encode: Callable[[str], list[int]]
) -> None:
    from_words = list(instruction_words(" ".join(chosen)))
    grammar = PageGrammar(encode, END, words=from_words, targets=clicks, can_search=True, max_words=most)
    sayable = [encode(f"click[{target}]") for target in clicks]
    for size in range(1, most + 1):
        for query in itertools.islice(itertools.combinations(from_words, size), 30):
            pieces = ["search[", query[0], *(f" {word}" for word in query[1:]), "]"]
            sayable.append([token for piece in pieces for token in encode(piece)])
    for tokens in sayable:
        state = grammar.start
        for token in tokens:
            assert token in allowed(grammar.mask(state))
            state = grammar.advance(state, token)
        assert END in allowed(grammar.mask(state))
        assert grammar.action(state) is not None


@settings(max_examples=60, deadline=None)
@given(words, st.sampled_from([letters, greedy]))
def test_every_window_can_be_said(chosen: list[str], encode: Callable[[str], list[int]]) -> None:
    from_words = list(instruction_words(" ".join(chosen)))
    options = {"targets": (), "can_search": True, "max_words": None, "window": True}
    grammar = PageGrammar(encode, END, words=from_words, **options)
    for start, end in itertools.combinations(range(len(from_words) + 1), 2):
        query = f"search[{' '.join(from_words[start:end])}]"
        state = grammar.start
        for token in grammar.spelling(query)[:-1]:
            assert token in allowed(grammar.mask(state))
            state = grammar.advance(state, token)
        assert END in allowed(grammar.mask(state))
        assert grammar.action(state) == query
