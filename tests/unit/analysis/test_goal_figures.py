from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex

from analysis.arms import arms_of
from analysis.comparison import Comparison, compare
from analysis.drawing import INK, NARROW, PAPER, WIDE, Wanted
from analysis.goal_figures import MAX_ARMS, MAX_ROWS, caption, goal_numbers, goals_figure, shown_goals
from analysis.goals import GoalScores
from tests.support.analysis_runs import make_run


def compared(scores: dict[str, list[list[float]]], goals: int) -> Comparison:
    """Arms by name: of each seed the score of each goal."""
    runs = [make_run(arm, seed, float(np.mean(own)))
            for arm, seeds in scores.items() for seed, own in enumerate(seeds)]  # fmt: skip
    names = tuple(f"g{i}" for i in range(goals))

    def read(run, evaluation):
        if evaluation != "test":
            return None
        values = np.array(scores[run.params["algo.name"]][int(run.seed)])
        return GoalScores(names, names, np.ones(goals), values)

    (comparison,) = compare(arms_of(runs), "test/score", read)
    return comparison


def test_rows_are_means_over_seeds_the_easiest_goal_first_and_columns_the_leading_arm_first() -> None:
    """By goal: a (0.2, 1, 0.6), b (0, 0.8, 0.1); means over arms 0.1, 0.9, 0.35."""
    comparison = compared({"b": [[0, 0.8, 0.1]], "a": [[0.0, 1, 0.6], [0.4, 1, 0.6]]}, 3)
    numbers = goal_numbers(comparison)
    assert list(numbers.index) == ["g1", "g2", "g0"]
    assert list(numbers.columns) == ["algo=a", "algo=b"]
    assert numbers.to_numpy() == pytest.approx(np.array([[1, 0.8], [0.6, 0.1], [0.2, 0.0]]))
    figure = goals_figure(numbers, "test/score")
    assert figure is not None
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["1.00", "0.80", "0.60", "0.10", "0.20", "0.00"]
    assert axes.collections[0].get_array().ravel().tolist() == pytest.approx([1, 0.8, 0.6, 0.1, 0.2, 0])
    assert axes.yaxis_inverted()  # the first row is at the top
    assert [label.get_text() for label in axes.get_yticklabels()] == ["g1", "g2", "g0"]


@pytest.mark.parametrize(("arms", "goals"), [(1, 5), (3, 1)])
def test_one_arm_or_one_goal_has_no_map(arms: int, goals: int) -> None:
    numbers = goal_numbers(compared({f"a{i}": [[0.5] * goals] for i in range(arms)}, goals))
    assert goals_figure(numbers, "test/score") is None


def test_two_hundred_arms_and_five_hundred_goals_stay_legible(tmp_path) -> None:
    rng = np.random.default_rng(0)
    comparison = compared({f"a{i:03}": [rng.random(500).tolist()] for i in range(200)}, 500)
    numbers = goal_numbers(comparison)
    rows = shown_goals(numbers)
    assert rows.shape == (MAX_ROWS, MAX_ARMS)
    assert list(rows.index[:2]) == ["1-13", "14-26"]  # 500 = 20 x 13 + 20 x 12
    assert rows.iloc[0].to_list() == pytest.approx(numbers.iloc[:13].mean().to_list())
    assert rows.mean(axis=1).is_monotonic_decreasing
    said = caption(comparison, numbers)
    assert "The 500 goals are put together in 40 rows" in said
    assert "The 16 leading arms; 184 more in goals.csv." in said
    for width in (WIDE, NARROW):
        figure = goals_figure(numbers, "test/score", width)
        assert figure is not None
        figure.canvas.draw()
        axes = figure.axes[0]
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [label.get_window_extent() for label in labels]
            assert len(boxes) in (MAX_ARMS, MAX_ROWS)
            assert not any(a.overlaps(b) for a, b in pairwise(boxes))
        assert axes.get_window_extent().width > 0.5 * width * figure.dpi
    made = Wanted(
        lambda width: goals_figure(numbers, "test/score", width), said, tmp_path / "goals", rows
    ).picture()
    assert made is not None
    assert made.csv is not None


def test_it_is_read_in_grey_and_its_numbers_in_the_dark(tmp_path) -> None:
    """Lightness rises with the score; a number's colour stays while the page's ink turns."""
    numbers = goal_numbers(compared({"a": [[0.0, 1.0]], "b": [[0.4, 0.5]]}, 2))
    figure = goals_figure(numbers, "test/score")
    assert figure is not None
    cells = figure.axes[0].collections[0]
    red, green, blue, _ = cells.get_cmap()(np.linspace(0, 1, 21)).T
    assert (np.diff(0.2126 * red + 0.7152 * green + 0.0722 * blue) > 0).all()
    inks = {to_hex(text.get_color()) for text in figure.axes[0].texts}
    assert inks == {"#000000", "#ffffff"}
    assert not inks & {INK, PAPER}
    made = Wanted(
        lambda width: goals_figure(numbers, "test/score", width), "map", tmp_path / "goals"
    ).picture()
    assert made is not None
    drawn = made.svg.read_text()
    assert re.search(r"fill: #ffffff", drawn)
    assert "var(--ink)" in drawn  # of the names
