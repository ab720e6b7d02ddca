"""BM25 by hand on three documents, Lucene's code for lengths, and hits found without scoring everything."""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from webshop_rl.envs.webshop import search
from webshop_rl.envs.webshop.postings import Postings, PostingsBuilder, coded_length
from webshop_rl.envs.webshop.search import SearchIndex, ranks_of
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.envs.words import instruction_words

DOCUMENTS = [("a", "red shoe red"), ("b", "red hat"), ("c", "green coat with green buttons")]


@pytest.mark.parametrize(
    ("length", "coded"),
    # Exact to 39; then 24 plus four significant bits: 40 - 24 = 16 = 0b10000, 41 - 24 = 17 -> 16;
    # 100 - 24 = 76 = 0b1001100 -> 0b1001000 = 72; 1000 - 24 = 976 = 0b1111010000 -> 0b1111000000 = 960.
    [(0, 0), (23, 23), (24, 24), (39, 39), (40, 40), (41, 40), (42, 42), (100, 96), (1000, 984)],
)
def test_coded_length(length: int, coded: int) -> None:
    assert coded_length(length) == coded


def test_scores_by_hand() -> None:
    index = SearchIndex.of(DOCUMENTS)
    # Lengths 3, 2, 4 ("with" is a stop word), mean 3; N = 3; "red" is in two documents.
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    factor = [1 / (0.9 * (0.6 + 0.4 * 3 / 3)), 1 / (0.9 * (0.6 + 0.4 * 2 / 3))]
    expected = [idf - idf / (1 + 2 * factor[0]), idf - idf / (1 + 1 * factor[1])]
    hits = index.search("red")
    assert [number for number, _ in hits] == [0, 1]
    for number, score in hits:
        assert score == pytest.approx(expected[number], rel=1e-6)
        assert score == float(np.float32(score))
    # A word that stands twice in the query counts twice.
    assert index.search("red red")[0][1] == pytest.approx(2 * expected[0], rel=1e-6)


def test_no_token_no_hit() -> None:
    index = SearchIndex.of(DOCUMENTS)
    for query in ("", "!!!", "with the", "unknown"):
        assert index.search(query) == []


def test_equal_scores_in_the_order_of_keys_and_at_most_the_limit() -> None:
    keys = [f"k{number:03d}" for number in range(60)]
    random.Random(0).shuffle(keys)
    index = SearchIndex.of((key, "same text") for key in keys)
    hits = index.search("text")
    assert [keys[number] for number, _ in hits] == [f"k{number:03d}" for number in range(50)]
    assert len({score for _, score in hits}) == 1
    assert len(index.search("text", limit=7)) == 7


def test_a_key_stands_for_one_document() -> None:
    with pytest.raises(ValueError, match="'b' is there twice"):
        SearchIndex.of([("b", "x"), ("a", "y"), ("b", "z")])


def _documents(number: int, rng: random.Random) -> list[list[str]]:
    """Texts of words as unequally frequent as those of a language, some documents alike."""
    words = [f"w{place}" for place in range(400)]
    weights = [1 / (place + 1) for place in range(400)]
    texts = [rng.choices(words, weights, k=rng.randint(1, 60)) for _ in range(number)]
    return [*texts, *texts[: number // 10]]


def _plain_scores(query: Sequence[str], postings: Postings, number: int) -> np.ndarray:
    """Every document's score, term by term, as the formula says."""
    scores = np.zeros(number)
    for token, count in Counter(query).items():
        place = postings.vocabulary.get(token)
        if place is not None:
            own = slice(postings.starts[place], postings.starts[place + 1])
            weight = np.float32(count) * postings.idf[place]
            scores[postings.documents[own]] += weight - weight / postings.saturation[own]
    return scores.astype(np.float32)


@pytest.mark.parametrize("limit", [1, 7, 50])
@pytest.mark.parametrize(("few_documents", "lookup_cost"), [(0, 0), (0, 20), (0, 10**6), (10**6, 20)])
def test_the_hits_are_those_of_scoring_everything(
    limit: int, few_documents: int, lookup_cost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(limit)
    documents = _documents(3000, rng)
    builder = PostingsBuilder()
    for document in documents:
        builder.add(document)
    postings = builder.postings()
    keys = [f"k{number}" for number in rng.sample(range(10**6), len(documents))]
    monkeypatch.setattr(search, "FEW_POSTINGS", 0)
    monkeypatch.setattr(search, "FEW_DOCUMENTS", few_documents)
    index = SearchIndex(postings, ranks_of(keys))
    monkeypatch.setattr(search, "LOOKUP_COST", lookup_cost)
    scored: list[int] = []
    exact = search._exact
    monkeypatch.setattr(search, "_exact", lambda t, d: (scored.append(len(d)), exact(t, d))[1])
    for _ in range(100):
        query = rng.choice(documents)[:12] + rng.choices([f"w{n}" for n in range(420)], k=rng.randint(0, 9))
        scores = _plain_scores(query, postings, len(documents))
        order = sorted(np.flatnonzero(scores), key=lambda number: (-scores[number], keys[number]))
        expected = [(int(number), float(scores[number])) for number in order[:limit]]
        assert index.search_tokens(query, limit) == expected
    # The last scoring of each query is of what was left: a small part of the documents.
    assert few_documents or sum(scored) / len(scored) < len(documents) / 8


@pytest.mark.parametrize("few_postings", [0, 10**9])
def test_searches_at_the_same_time_are_those_of_one_after_the_other(
    few_postings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(0)
    documents = _documents(3000, rng)
    builder = PostingsBuilder()
    for document in documents:
        builder.add(document)
    monkeypatch.setattr(search, "FEW_DOCUMENTS", 0)
    monkeypatch.setattr(search, "FEW_POSTINGS", few_postings)
    index = SearchIndex(builder.postings(), ranks_of([str(number) for number in range(len(documents))]))
    queries = [rng.choice(documents)[:12] for _ in range(200)]
    alone = [index.search_tokens(query) for query in queries]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(index.search_tokens, queries)) == alone
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("kind", ["synthetic", "human"])
def test_words_find_what_the_text_they_are_taken_from_finds(webshop_data_dir: Path, kind: str) -> None:
    """Punctuation, which queries of an agent do not have, is nothing to the search."""
    shop = WebShop(data_dir=str(webshop_data_dir), goals=kind)
    for goal in shop.goals("all")[::60]:
        for last in (12, 99):
            text = " ".join(goal.instruction.split()[-last:])
            assert shop.hits(" ".join(instruction_words(text))) == shop.hits(text)
