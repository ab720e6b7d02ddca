"""The words of an instruction that a query may use."""

from __future__ import annotations

import re


def instruction_words(instruction: str) -> tuple[str, ...]:
    """Words a query may use, in order, lower-cased, without punctuation at their ends."""
    words = (word.strip(".,;:!?\"'()") for word in re.findall(r"[^\s\[\]]+", instruction.lower()))
    return tuple(word for word in words if word)
