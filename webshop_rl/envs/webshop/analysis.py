"""Text to index tokens, as the original's search engine (Lucene's English analyzer) makes them.

Words by UAX #29, possessive 's removed, lower case, Lucene's English stop words removed, Porter stems.
The word grammar is that of Lucene's StandardTokenizer: the longest match wins, emoji are words,
ideographs and hiragana stand alone, South-East Asian runs stay whole, and a word is cut after 255
UTF-16 units.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache

from webshop_rl.envs.webshop import unicode9
from webshop_rl.envs.webshop.porter import stem

MAX_TOKEN_UNITS = 255
TEXTS_KEPT = 1 << 17
_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these
they this to was will with
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def _ranges(*tables: str) -> str:
    """The inside of a character class that holds every range of the tables."""
    parts = []
    for entry in " ".join(tables).split():
        first, _, last = entry.partition("-")
        parts.append(f"\\U{int(first, 16):08x}-\\U{int(last or first, 16):08x}")
    return "".join(parts)


def _word_pattern() -> str:
    """Rules WB5 to WB13b: letters, numbers and katakana with the marks that may join them."""
    attached = f"[{_ranges(unicode9.EXTEND, unicode9.FORMAT, unicode9.ZWJ)}]*"
    letter = f"[{_ranges(unicode9.A_LETTER, unicode9.HEBREW_LETTER)}]{attached}"
    hebrew = f"[{_ranges(unicode9.HEBREW_LETTER)}]{attached}"
    number = f"[{_ranges(unicode9.NUMERIC, unicode9.FULLWIDTH_DIGIT)}]{attached}"
    katakana = f"[{_ranges(unicode9.KATAKANA)}]{attached}"
    joiner = f"(?:[{_ranges(unicode9.EXTEND_NUM_LET)}]{attached})"
    mid_letter = f"(?:['{_ranges(unicode9.MID_LETTER, unicode9.MID_NUM_LET)}]{attached})"
    mid_number = f"(?:['{_ranges(unicode9.MID_NUM, unicode9.MID_NUM_LET)}]{attached})"
    core = (
        f"(?:{katakana}(?:{joiner}*{katakana})*"
        f"|(?:{hebrew}(?:'{attached}|\"{attached}{hebrew})"
        f"|{number}(?:(?:{joiner}*|{mid_number}){number})*"
        f"|{letter}(?:(?:{joiner}*|{mid_letter}){letter})*)+)"
    )
    return f"{joiner}*{core}(?:{joiner}+{core})*{joiner}*"


def _emoji_pattern() -> str:
    """Emoji, with presentation selectors, modifiers, joined and tag sequences, keycaps and flags."""
    selectors = "\ufe0e\ufe0f"
    attached = f"(?:(?![{selectors}])[{_ranges(unicode9.EXTEND, unicode9.FORMAT, unicode9.ZWJ)}])*"
    keycap_base = "0-9#*"
    accidental = "\u00a9\u00ae\u2122\u3030\u303d"
    not_alone = f"[{keycap_base}{accidental}{_ranges(unicode9.REGIONAL_INDICATOR, unicode9.EMOJI_MODIFIER)}]"
    character = f"(?:[{_ranges(unicode9.EXTENDED_PICTOGRAPHIC)}]|(?!{not_alone})[{_ranges(unicode9.EMOJI)}])"
    modified = (
        f"(?:\u200d*[{_ranges(unicode9.EMOJI_MODIFIER_BASE)}]{attached})?"
        f"[{_ranges(unicode9.EMOJI_MODIFIER)}]{attached}"
    )
    element = f"(?:{modified}|\u200d*{character}{attached}\ufe0f?)"
    tags = "[\U000e0020-\U000e007e]+\U000e007f"
    flag = f"[{_ranges(unicode9.REGIONAL_INDICATOR)}]{attached}"
    keycap = f"[{keycap_base}]{attached}\ufe0f?\u20e3{attached}"
    # The zero-width joiner before the next element may already be taken as an attached character.
    joined = f"(?:(?:\u200d|(?<=\u200d)){element})*"
    return f"{element}(?:{tags}|{joined})|{keycap}|{flag}{flag}"


_WORD = re.compile(_word_pattern())
_LETTERS_ONLY = "[A-Za-z](?:(?:_*|[':.])[A-Za-z])*"
_DIGITS_ONLY = "[0-9](?:(?:_*|[',;.])[0-9])*"
_ASCII_CORE = f"(?:{_DIGITS_ONLY}|{_LETTERS_ONLY})+"
_ASCII_WORD = re.compile(f"_*{_ASCII_CORE}(?:_+{_ASCII_CORE})*_*")
# Every other kind of token; where one of them is longer than the word at the same place, it wins.
_OTHERS = (
    re.compile(_emoji_pattern()),
    re.compile(
        f"(?:[{_ranges(unicode9.COMPLEX_CONTEXT)}]"
        f"[{_ranges(unicode9.EXTEND, unicode9.FORMAT, unicode9.ZWJ)}]*)+"
    ),
    re.compile(
        f"[{_ranges(unicode9.HAN, unicode9.HIRAGANA)}]"
        f"[{_ranges(unicode9.EXTEND, unicode9.FORMAT, unicode9.ZWJ)}]*"
    ),
)
# What a token of another kind than a word can start with.
_OTHER_START = _ranges(
    unicode9.ZWJ,
    unicode9.EMOJI,
    unicode9.EMOJI_MODIFIER,
    unicode9.EMOJI_MODIFIER_BASE,
    unicode9.EXTENDED_PICTOGRAPHIC,
    unicode9.REGIONAL_INDICATOR,
    unicode9.COMPLEX_CONTEXT,
    unicode9.HAN,
    unicode9.HIRAGANA,
)
_WORD_START = _ranges(
    unicode9.A_LETTER,
    unicode9.HEBREW_LETTER,
    unicode9.NUMERIC,
    unicode9.FULLWIDTH_DIGIT,
    unicode9.KATAKANA,
    unicode9.EXTEND_NUM_LET,
)
_START = re.compile(f"[0-9#*{_OTHER_START}{_WORD_START}]")
# No other kind of token that starts so is longer than the word there.
_WORD_WINS = re.compile(f"(?![{_OTHER_START}])[{_WORD_START}]|[0-9A-Za-z]")


def words(text: str) -> list[str]:
    """The raw words of text, in order, before any filter."""
    if text.isascii():
        found: list[str] = _ASCII_WORD.findall(text)  # the same grammar where no other character can stand
        if max(map(len, found), default=0) <= MAX_TOKEN_UNITS:
            return found
    return _any_words(text)


def _any_words(text: str) -> list[str]:
    """As words, whatever characters the text has."""
    found = []
    position = 0
    while start := _START.search(text, position):
        position = start.start()
        end = _longest(text, position)
        if end > position:
            found.append(text[position:end])
            position = end
        else:
            position += 1
    return found


def _longest(text: str, start: int) -> int:
    """End of the longest token that starts at start; start itself if there is none."""
    limit = _limit(text, start)
    match = _WORD.match(text, start, limit)
    end = match.end() if match else start
    if _WORD_WINS.match(text, start):
        return end
    for pattern in _OTHERS:
        match = pattern.match(text, start, limit)
        if match:
            end = max(end, match.end())
    return end


def _limit(text: str, start: int) -> int:
    """Where a token that starts at start must end: characters beyond U+FFFF count twice."""
    limit = min(start + MAX_TOKEN_UNITS, len(text))
    window = text[start:limit]
    if window.isascii() or max(window, default="") <= "\uffff":
        return limit
    units = 0
    for offset, character in enumerate(window):
        units += 2 if character > "\uffff" else 1
        if units > MAX_TOKEN_UNITS:
            return start + offset
    return limit


def tokens(text: str) -> list[str]:
    """Index tokens of text, in order, repeats kept; "" and pure punctuation give none."""
    # No word contains a blank, and most of what lies between blanks was there before.
    return list(itertools.chain.from_iterable(map(_tokens_between_blanks, text.split(" "))))


@lru_cache(maxsize=TEXTS_KEPT)
def _tokens_between_blanks(text: str) -> tuple[str, ...]:
    return tuple([token for word in words(text) if (token := _token(word))])


@lru_cache(maxsize=TEXTS_KEPT)
def _token(word: str) -> str:
    """What the filters make of a word; "" for a stop word."""
    if len(word) >= 2 and word[-1] in "sS" and word[-2] in "'\u2019\uff07":
        word = word[:-2]
    # Java lowers character by character: where Python would give two characters, it gives the first.
    word = word.lower() if word.isascii() else "".join(letter.lower()[0] for letter in word)
    return "" if word in STOP_WORDS else stem(word)
