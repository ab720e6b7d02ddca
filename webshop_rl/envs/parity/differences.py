"""Strict comparison of JSON values: types count, so 1, 1.0 and true all differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SHOWN_CHARS = 120


@dataclass(frozen=True)
class Difference:
    """The first field in which a row differs.

    Attributes:
        field: path of the field, such as "info.r_att" or "steps[3].obs".
        expected: what the reproduction gives, or a description of the rule that is broken.
        found: what the row holds.
    """

    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}, found {self.found}"


def rule(field: str, expected: str, found: Any) -> Difference:
    """A difference from a rule that is told in words."""
    return Difference(field, expected, _shown(found))


def first_difference(expected: Any, found: Any, field: str = "") -> Difference | None:
    """The first place, depth first, where two JSON values differ in type, keys, length or value."""
    if type(expected) is not type(found):
        return Difference(field or "row", _shown(expected), _shown(found))
    if isinstance(expected, dict):
        return _first_of_objects(expected, found, field)
    if isinstance(expected, list):
        for index, (wanted, got) in enumerate(zip(expected, found, strict=False)):
            if difference := first_difference(wanted, got, f"{field}[{index}]"):
                return difference
        if len(expected) != len(found):
            return Difference(field, f"{len(expected)} entries", f"{len(found)}")
        return None
    # By their print, for -0.0 equals 0.0 and NaN never equals itself.
    if repr(expected) != repr(found):
        return _difference_of_values(expected, found, field or "row")
    return None


def _first_of_objects(expected: dict[str, Any], found: dict[str, Any], field: str) -> Difference | None:
    for key in expected:
        path = f"{field}.{key}" if field else key
        if key not in found:
            return Difference(path, _shown(expected[key]), "no such field")
        if difference := first_difference(expected[key], found[key], path):
            return difference
    for key in found:
        if key not in expected:
            return Difference(f"{field}.{key}" if field else key, "no such field", _shown(found[key]))
    return None


def _difference_of_values(expected: Any, found: Any, field: str) -> Difference:
    if isinstance(expected, str) and max(len(expected), len(found)) > SHOWN_CHARS:
        # Long texts: show them from a little before the place where they part.
        same = next(
            (i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b),
            min(len(expected), len(found)),
        )
        start = max(0, same - 20)
        return Difference(f"{field} from character {same}", _shown(expected[start:]), _shown(found[start:]))
    return Difference(field, _shown(expected), _shown(found))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..."
