"""An error that a test must notice: file, exact text, what it becomes, the narrowest tests that see it."""

from __future__ import annotations

from dataclasses import dataclass

PACKAGE = "webshop_rl/"
UNIT = "tests/unit/"


@dataclass(frozen=True)
class Mutant:
    """One error.

    Attributes:
        name: what goes wrong.
        file: from the repository's root.
        old, new: the exact text, which the file contains once, and what takes its place.
        tests: what must fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def of(file: str, tests: tuple[str, ...], *cases: tuple[str, str, str]) -> list[Mutant]:
    """Those of one file that the same tests must notice; cases: (name, old, new)."""
    return [Mutant(name, PACKAGE + file, old, new, tests) for name, old, new in cases]
