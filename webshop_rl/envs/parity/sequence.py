"""Numbers that count the rows of a file: what can be said of them without knowing the whole corpus."""

from __future__ import annotations

from collections.abc import Sequence


def out_of_sequence(numbers: Sequence[int], *, consecutive: bool = True) -> set[int]:
    """Places whose number cannot be right.

    Rows are numbered in file order, and a file holds a stretch of rows or a sample of them. So numbers
    rise strictly; and where all others follow one another, the first and last row do so too.

    Args:
        numbers: in file order.
        consecutive: whether a stretch has no gaps; if not, only the rise is demanded.
    Returns: for each break of the order the place to blame: the one without which the rest rises.
    """
    wrong = {place for place, number in enumerate(numbers) if number < 0}
    for place in range(1, len(numbers)):
        if numbers[place] <= numbers[place - 1]:
            before = numbers[place - 2] if place > 1 else -1
            wrong.add(place if numbers[place] <= before else place - 1)
    if consecutive and not wrong and len(numbers) > 2:
        breaks = [place for place in range(1, len(numbers)) if numbers[place] != numbers[place - 1] + 1]
        if breaks == [1]:
            wrong.add(0)
        elif breaks == [len(numbers) - 1]:
            wrong.add(len(numbers) - 1)
    return wrong
