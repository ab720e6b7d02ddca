"""Index tokens: the word grammar, the filters and the stemmer."""

from __future__ import annotations

import random

import pytest

from webshop_rl.envs.webshop import analysis
from webshop_rl.envs.webshop.analysis import tokens, words
from webshop_rl.envs.webshop.porter import stem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wi-fi 100% cotton!", ["wi", "fi", "100", "cotton"]),
        # A point, comma or apostrophe inside a word or number holds it together; so does a colon
        # between letters, but not between numbers.
        ("3.5mm can't 1,000 a:b 1:2 x.y.", ["3.5mm", "can't", "1,000", "a:b", "1", "2", "x.y"]),
        ("snake_case ___ _a_", ["snake_case", "_a_"]),
        # Mixed: no joiner between a letter and a digit, except that they join directly.
        ("a.1 1.a 4k2", ["a", "1", "1", "a", "4k2"]),
        ("日本 ひら カタカナ", ["日", "本", "ひ", "ら", "カタカナ"]),
        ("ราคาถูก", ["ราคาถูก"]),
        ("한국어", ["한국어"]),
        # Emoji are words: with a presentation selector, joined, flags, keycaps; (c), (R), TM as well.
        ("a★b ❤️ 👨‍💼 🇩🇪🇫🇷 1️⃣ #️⃣ # ®", ["a", "★", "b", "❤️", "👨‍💼", "🇩🇪", "🇫🇷", "1️⃣", "#️⃣", "®"]),
        ("soft\u00adhyphen", ["soft\u00adhyphen"]),
        ('ש"ח', ['ש"ח']),
        ("", []),
        (" \n—…", []),
    ],
)
def test_words_follow_the_grammar(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_long_word_is_cut_after_255_utf16_units() -> None:
    assert [len(word) for word in words("x" * 600)] == [255, 255, 90]
    # A letter beyond U+FFFF counts twice: 127 fit into 255 units.
    assert [len(word) for word in words("\U0001d41a" * 200)] == [127, 73]


def test_tokens_drop_stop_words_and_possessives() -> None:
    assert tokens("The men's and WOMEN’S shoes of it") == ["men", "women", "shoe"]
    assert tokens("is it") == []
    # Only a final 's goes; an inner one and a bare apostrophe do not.
    assert tokens("women's-wear dogs'") == ["women", "wear", "dog"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        # Worked by the rules of the 1980 paper.
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("feed", "feed"),
        ("agreed", "agre"),
        ("plastered", "plaster"),
        ("hopping", "hop"),
        ("filing", "file"),
        ("happy", "happi"),
        ("sky", "sky"),
        ("relational", "relat"),
        ("rational", "ration"),
        ("triplicate", "triplic"),
        ("adjustment", "adjust"),
        ("adoption", "adopt"),
        ("probate", "probat"),
        ("controll", "control"),
        # Where Lucene departs from the paper: bli and logi.
        ("possibly", "possibl"),
        ("technology", "technolog"),
        # Too short, or ending in a digit: left alone.
        ("as", "as"),
        ("patiently2", "patiently2"),
        ("9.5", "9.5"),
    ],
)
def test_stem(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_texts_are_read_between_blanks_as_they_are_whole() -> None:
    rng = random.Random(0)
    letters = " \t\n\u00a0ab'’._-#*1٣é\u0301\u200d❤️😀👍🏽🇩🇪한กข漢ひカー"
    letters += '"”„“©0,;:\ufe0f\u20e3\U000e0067\U000e007f〰\u3000'
    for _ in range(2000):
        text = "".join(rng.choices(letters, k=rng.randint(1, 30)))
        whole = [analysis._token(word) for word in analysis._any_words(text)]
        assert tokens(text) == [token for token in whole if token], ascii(text)
