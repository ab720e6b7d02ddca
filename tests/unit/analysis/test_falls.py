"""Which runs fall after their peak, and whether the sampled policy falls with them."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.falls import Ends, ends, table

VALIDATION = pd.Series({0: 0.1, 5: 0.8, 10: 0.8, 15: 0.3})
RISING = pd.Series({update: update / 20 for update in range(1, 16)})


def test_the_first_best_is_set_beside_the_last() -> None:
    found = ends(VALIDATION, RISING)
    assert (found.best, found.last) == (0.8, 0.3)
    assert found.sampled_at_best == pytest.approx((3 + 4 + 5) / 60)
    assert found.sampled_at_last == pytest.approx((13 + 14 + 15) / 60)
    assert found.fell
    assert found.sampled_rose


def test_a_policy_that_falls_in_training_too_does_not_rise() -> None:
    found = ends(VALIDATION, RISING[::-1].set_axis(RISING.index))
    assert found.fell
    assert not found.sampled_rose


def test_an_order_of_rows_does_not_matter() -> None:
    assert ends(VALIDATION[::-1], RISING[::-1]) == ends(VALIDATION, RISING)


@pytest.mark.parametrize(("last", "fell"), [(0.8, False), (0.75, False), (0.69, True)])
def test_a_small_step_down_is_no_fall(last: float, fell: bool) -> None:
    assert ends(pd.Series({0: 0.1, 5: 0.8, 10: last}), RISING).fell is fell


def test_a_best_before_training_has_nothing_to_compare() -> None:
    found = ends(pd.Series({0: 0.5, 5: 0.0}), RISING)
    assert found.sampled_at_best is None
    assert not found.sampled_rose


def test_the_table_counts_by_shop_and_in_all() -> None:
    fallen, risen, kept = Ends(0.8, 0.3, 0.5, 0.2), Ends(0.8, 0.3, 0.2, 0.5), Ends(0.8, 0.8, 0.1, 0.9)
    rows = table({"a": [fallen, risen, kept], "b": [kept]}).splitlines()[2:]
    assert rows == ["| a | 3 | 2 | 1 |", "| b | 1 | 0 | 0 |", "| all | 4 | 2 | 1 |"]
