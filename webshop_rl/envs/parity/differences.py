"""Strict comparison of JSON values: types count, so 1, 1.0 and true all differ."""

from __future__ import annotations

from typing import Any, Final

SHOWN_CHARS: Final = 120


def first_difference(expected: Any, found: Any, field: str = "row") -> str | None:
    """The first place, depth first, where two JSON values differ in type, keys, length or value.

    Returns: "field: expected this, found that", such as "steps[3].reward: expected 0.0, found 0".
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in expected | found:
            path = key if field == "row" else f"{field}.{key}"
            if key not in found:
                return f"{path}: expected {shown(expected[key])}, found no such field"
            if key not in expected:
                return f"{path}: expected no such field, found {shown(found[key])}"
            if difference := first_difference(expected[key], found[key], path):
                return difference
        return None
    if isinstance(expected, list) and isinstance(found, list):
        for index, (wanted, got) in enumerate(zip(expected, found, strict=False)):
            if difference := first_difference(wanted, got, f"{field}[{index}]"):
                return difference
        if len(expected) != len(found):
            return f"{field}: expected {len(expected)} entries, found {len(found)}"
        return None
    # By their print, for -0.0 equals 0.0 and NaN never equals itself.
    if type(expected) is type(found) and repr(expected) == repr(found):
        return None
    start = 0
    if isinstance(expected, str) and isinstance(found, str) and max(len(expected), len(found)) > SHOWN_CHARS:
        # Long texts: from a little before the place where they part.
        same = [one == other for one, other in zip(expected, found, strict=False)]
        start = max(0, [*same, False].index(False) - 20)
        field += f" from character {start}"
    return f"{field}: expected {shown(expected, start)}, found {shown(found, start)}"


def shown(value: Any, start: int = 0) -> str:
    """A value in at most some 120 characters; of a text, those from start on."""
    text = repr(value[start:] if start else value)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..."
