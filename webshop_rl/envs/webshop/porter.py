"""Porter's suffix stripper as Lucene's PorterStemFilter applies it.

It differs from the published algorithm, and so from most libraries, in two rules of step 2:
"bli" -> "ble" (not "abli" -> "able") and "logi" -> "log". Characters that are not a, e, i, o, u or y
count as consonants, so tokens such as "patiently2" or "9.5" pass through the same rules.

Source: Porter, An algorithm for suffix stripping, Program 14(3), 1980; release 3 of the Java version.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

# Each table maps a suffix to its replacement where the stem before it has measure > 0. Within a step
# the first suffix that matches decides, even when the measure forbids the replacement.
_STEP_2 = {
    "a": (("ational", "ate"), ("tional", "tion")),
    "c": (("enci", "ence"), ("anci", "ance")),
    "e": (("izer", "ize"),),
    "l": (("bli", "ble"), ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous")),
    "o": (("ization", "ize"), ("ation", "ate"), ("ator", "ate")),
    "s": (("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous")),
    "t": (("aliti", "al"), ("iviti", "ive"), ("biliti", "ble")),
    "g": (("logi", "log"),),
}
_STEP_3 = {
    "e": (("icate", "ic"), ("ative", ""), ("alize", "al")),
    "i": (("iciti", "ic"),),
    "l": (("ical", "ic"), ("ful", "")),
    "s": (("ness", ""),),
}
# Suffixes that step 4 removes where the stem before them has measure > 1, by their last letter but one.
_STEP_4 = {
    "a": ("al",),
    "c": ("ance", "ence"),
    "e": ("er",),
    "i": ("ic",),
    "l": ("able", "ible"),
    "n": ("ant", "ement", "ment", "ent"),
    "o": ("sion", "tion", "ou"),
    "s": ("ism",),
    "t": ("ate", "iti"),
    "u": ("ous",),
    "v": ("ive",),
    "z": ("ize",),
}


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The stem of a lower-cased token; tokens of one or two UTF-16 units stay as they are."""
    if len(word) < 3 and len(word.encode("utf-16-le")) < 6:
        return word
    word = _plurals_and_participles(word)
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    if len(word) > 1:
        word = _replace(word, _STEP_2.get(word[-2], ()))
    word = _replace(word, _STEP_3.get(word[-1], ()))
    if len(word) > 1:
        word = _remove(word, _STEP_4.get(word[-2], ()))
    return _final_e_and_double_l(word)


def _plurals_and_participles(word: str) -> str:
    if word[-1] == "s":
        if word.endswith(("sses", "ies")):
            word = word[:-2]
        elif word[-2:-1] != "s":
            word = word[:-1]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        if word.endswith(suffix):
            stem_ = word[: -len(suffix)]
            return _repair(stem_) if _has_vowel(stem_) else word
    return word


def _repair(word: str) -> str:
    """Restore the ending that a removed -ed or -ing had changed."""
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if _ends_in_double_consonant(word):
        return word if word[-1] in "lsz" else word[:-1]
    if _measure(word) == 1 and _ends_cvc(word):
        return word + "e"
    return word


def _replace(word: str, rules: tuple[tuple[str, str], ...]) -> str:
    for suffix, replacement in rules:
        if word.endswith(suffix):
            stem_ = word[: -len(suffix)]
            return stem_ + replacement if _measure(stem_) > 0 else word
    return word


def _remove(word: str, suffixes: tuple[str, ...]) -> str:
    for suffix in suffixes:
        if word.endswith(suffix):
            # -ion goes only after s or t, which stay.
            stem_ = word[:-3] if suffix.endswith("ion") else word[: -len(suffix)]
            return stem_ if _measure(stem_) > 1 else word
    return word


def _final_e_and_double_l(word: str) -> str:
    # The measure is that of the whole word, final e included, which adds nothing to it.
    measure = _measure(word)
    if word.endswith("e") and (measure > 1 or (measure == 1 and not _ends_cvc(word[:-1]))):
        word = word[:-1]
    if word.endswith("ll") and measure > 1:
        word = word[:-1]
    return word


def _vowels(word: str) -> list[bool]:
    """Per letter, whether it is a vowel; y is one after a consonant."""
    marks: list[bool] = []
    for position, letter in enumerate(word):
        if letter == "y":
            marks.append(position > 0 and not marks[-1])
        else:
            marks.append(letter in "aeiou")
    return marks


def _measure(word: str) -> int:
    """The number of vowel-to-consonant steps: m in [C](VC)^m[V]."""
    marks = _vowels(word)
    return sum(before and not after for before, after in pairwise(marks))


def _has_vowel(word: str) -> bool:
    return any(_vowels(word))


def _ends_in_double_consonant(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and not _vowels(word)[-1]


def _ends_cvc(word: str) -> bool:
    """Consonant, vowel, consonant other than w, x, y at the end."""
    return len(word) > 2 and _vowels(word)[-3:] == [False, True, False] and word[-1] not in "wxy"
