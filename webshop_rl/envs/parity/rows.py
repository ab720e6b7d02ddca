"""What all kinds of row have in common: each row derived anew, and the rows of a file in sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from webshop_rl.envs.parity.corpus import Row
from webshop_rl.envs.parity.differences import Difference, first_difference, rule
from webshop_rl.envs.parity.given import GIVEN_FIELDS, compare_given
from webshop_rl.envs.parity.sequence import out_of_sequence

Content = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """A row and the first field in which it differs; None if every field matches."""

    row: Row
    difference: Difference | None


@dataclass(frozen=True)
class Checker:
    """How rows of one kind are checked.

    Attributes:
        kind: of the rows.
        number_field: the field that tells a row's place, for messages.
        place: the series a row belongs to and its number in it, such as ("human", 3). Only asked of
            rows that match otherwise.
        compare: the first difference of a row from what the reproduction gives.
        consecutive: whether the numbers of a stretch of rows follow one another.
    """

    kind: str
    number_field: str
    place: Callable[[Content], tuple[str, int]]
    compare: Callable[[Content], Difference | None]
    consecutive: bool = True

    def check(self, files: Sequence[Sequence[Row]]) -> list[Verdict]:
        """Verdicts on all rows, in the order of files and lines."""
        verdicts: list[Verdict] = []
        known: dict[tuple[str, int], Content] = {}
        for rows in files:
            alone = [_repeated_field(row) or self.compare(row.content) for row in rows]
            verdicts += map(Verdict, rows, self.compare_together(rows, alone, known))
        return verdicts

    def compare_together(
        self,
        rows: Sequence[Row],
        alone: Sequence[Difference | None] = (),
        known: dict[tuple[str, int], Content] | None = None,
    ) -> list[Difference | None]:
        """What the rows of a file tell of one another: their order, copies, and whose rows they are.

        Args:
            rows: of one file.
            alone: the differences found in each row by itself; none if left out.
            known: rows of files before this one, by place; this file's are added.
        Returns: for each row its first difference, of either sort.
        """
        differences = list(alone) or [None] * len(rows)
        self._compare_sequence(rows, differences)
        self._compare_copies(rows, differences, {} if known is None else known)
        if self.kind in GIVEN_FIELDS:
            given = compare_given(self.kind, rows)
            differences = [first or second for first, second in zip(differences, given, strict=True)]
        return differences

    def _compare_sequence(self, rows: Sequence[Row], differences: list[Difference | None]) -> None:
        series: dict[str, list[tuple[int, int]]] = {}
        for index, (row, difference) in enumerate(zip(rows, differences, strict=True)):
            if difference is None:
                name, number = self.place(row.content)
                series.setdefault(name, []).append((index, number))
        for members in series.values():
            for place in out_of_sequence([number for _, number in members], consecutive=self.consecutive):
                index, number = members[place]
                differences[index] = rule(self.number_field, "a place in the order of the file", number)

    def _compare_copies(
        self,
        rows: Sequence[Row],
        differences: list[Difference | None],
        known: dict[tuple[str, int], Content],
    ) -> None:
        """A row that stands in two files must be the same in both."""
        for index, row in enumerate(rows):
            if differences[index] is None:
                key = self.place(row.content)
                differences[index] = first_difference(known.setdefault(key, row.content), row.content)


def _repeated_field(row: Row) -> Difference | None:
    return rule(row.repeated, "one field of this name in an object", "two") if row.repeated else None


def check_id(row: Content) -> Difference | None:
    """An id is a whole number from 0."""
    number = row.get("id")
    return None if type(number) is int and number >= 0 else rule("id", "a whole number from 0", number)
