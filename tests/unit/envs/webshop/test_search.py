"""BM25 by hand on three documents, and Lucene's code for lengths."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from webshop_rl.envs.webshop.search import SearchIndex, coded_length
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
    index = SearchIndex(DOCUMENTS)
    # Lengths 3, 2, 4 ("with" is a stop word), mean 3; N = 3; "red" is in two documents.
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    factor = {"a": 1 / (0.9 * (0.6 + 0.4 * 3 / 3)), "b": 1 / (0.9 * (0.6 + 0.4 * 2 / 3))}
    expected = {"a": idf - idf / (1 + 2 * factor["a"]), "b": idf - idf / (1 + 1 * factor["b"])}
    hits = index.search("red")
    assert [key for key, _ in hits] == ["a", "b"]
    for key, score in hits:
        assert score == pytest.approx(expected[key], rel=1e-6)
        assert score == float(np.float32(score))
    # A word that stands twice in the query counts twice.
    assert index.search("red red")[0][1] == pytest.approx(2 * expected["a"], rel=1e-6)


def test_no_token_no_hit() -> None:
    index = SearchIndex(DOCUMENTS)
    for query in ("", "!!!", "with the", "unknown"):
        assert index.search(query) == []


def test_equal_scores_in_key_order_and_at_most_the_limit() -> None:
    index = SearchIndex((f"k{number:03d}", "same text") for number in range(60))
    hits = index.search("text")
    assert [key for key, _ in hits] == [f"k{number:03d}" for number in range(50)]
    assert len({score for _, score in hits}) == 1
    assert len(index.search("text", limit=7)) == 7


def test_keys_must_rise() -> None:
    with pytest.raises(ValueError, match="does not come after"):
        SearchIndex([("b", "x"), ("a", "y")])


@pytest.mark.parametrize("kind", ["synthetic", "human"])
def test_words_find_what_the_text_they_are_taken_from_finds(webshop_data_dir: Path, kind: str) -> None:
    """Punctuation, which queries of an agent do not have, is nothing to the search."""
    shop = WebShop(data_dir=str(webshop_data_dir), goals=kind)
    for goal in shop.goals("all")[::60]:
        for last in (12, 99):
            text = " ".join(goal.instruction.split()[-last:])
            assert shop.hits(" ".join(instruction_words(text))) == shop.hits(text)
