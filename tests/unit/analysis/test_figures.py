from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from analysis import figures
from analysis.arms import arms_of
from analysis.axes import AXES
from analysis.comparison import compare
from tests.support.analysis_runs import make_run
from webshop_rl.tracking.names import check


def points(values: dict[str, dict[int, float]]) -> pd.DataFrame:
    rows = [(run, "val/success", step, v) for run, by_step in values.items() for step, v in by_step.items()]
    return pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])


def line(axes, width: float) -> list[tuple[list[float], list[float]]]:
    return [
        (list(drawn.get_xdata()), list(drawn.get_ydata()))
        for drawn in axes.get_lines()
        if drawn.get_linewidth() == width and drawn.get_marker() != "x"
    ]


def test_each_run_is_a_thin_line_and_the_mean_stops_where_a_run_does():
    runs = [make_run(seed=0, score=1.0), make_run(seed=1, status="FAILED")]
    curves = points({runs[0].run_id: {10: 0.2, 20: 0.6, 30: 1.0}, runs[1].run_id: {10: 0.4, 20: 0.0}})
    figure = figures.curve_figure(arms_of(runs), curves, "val/success")
    assert figure is not None
    (axes,) = figure.axes
    assert line(axes, 0.7) == [([10, 20, 30], [0.2, 0.6, 1.0]), ([10, 20], [0.4, 0.0])]
    ((steps, means),) = line(axes, 2.2)
    assert steps == [10, 20]
    assert means == pytest.approx([0.3, 0.3])
    crosses = [d for d in axes.get_lines() if d.get_marker() == "x"]
    assert [(list(c.get_xdata()), list(c.get_ydata())) for c in crosses] == [([20], [0.0])]


def test_arms_have_colours_of_their_own_and_many_arms_panels_of_their_own():
    for num, panels in ((figures.MAX_TOGETHER, 1), (figures.MAX_TOGETHER + 1, figures.MAX_TOGETHER + 1)):
        runs = [make_run(f"a{i}", score=0.5) for i in range(num)]
        figure = figures.curve_figure(
            arms_of(runs), points({r.run_id: {1: 0.1, 2: 0.5} for r in runs}), "val/success"
        )
        assert figure is not None
        assert sum(bool(axes.get_lines()) for axes in figure.axes) == panels
        if panels == 1:
            thick = [
                to_hex(d.get_color()).upper() for d in figure.axes[0].get_lines() if d.get_linewidth() == 2.2
            ]
            assert thick == list(figures.COLOURS[:num])


def test_curves_against_what_was_consumed_take_the_last_count_at_or_before_a_point():
    runs = [make_run(seed=seed, score=1.0) for seed in (0, 1)]
    a, b = (run.run_id for run in runs)
    rows = [(run, "val/success", step, v) for run in (a, b) for step, v in ((0, 0.0), (4, 0.4), (8, 0.8))]
    rows += [(a, "train/episodes", step, v) for step, v in ((1, 32), (4, 32), (5, 64), (8, 64))]
    rows += [(b, "train/episodes", step, v) for step, v in ((1, 8), (4, 8), (5, 16))]
    rows += [(run, "vstar/episodes", 1, 100) for run in (a, b)]
    curves = pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])
    figure = figures.curve_figure(arms_of(runs), curves, "val/success", AXES["episodes"])
    (axes,) = figure.axes
    assert axes.get_xlabel() == "training episodes"
    values = [0.0, 0.4, 0.8]
    assert line(axes, 0.7) == [([0, 32, 64], values), ([0, 8, 16], values)]
    assert line(axes, 2.2) == [([0, 20, 40], values)]  # update by update, the mean of both
    both = figures.placed(curves, "val/success", AXES["episodes_with_vstar"])
    assert list(both["place"]) == [0, 132, 164, 0, 108, 116]


def test_a_run_that_did_not_log_what_it_consumed_is_not_drawn_against_it():
    runs = [make_run(seed=0, score=1.0)]
    curves = points({runs[0].run_id: {10: 0.2}})
    assert figures.curve_figure(arms_of(runs), curves, "val/success", AXES["tokens"]) is None


def test_every_axis_is_of_metrics_that_exist():
    check(name for axis in AXES.values() for name in axis.metrics)


def test_nothing_to_draw_is_no_figure():
    assert figures.curve_figure(arms_of([make_run()]), points({}), "val/success") is None


def test_scores_show_every_run_and_what_must_be_beaten(tmp_path):
    rule = {"baseline/rule/score": 0.79, "baseline/rule/success": 0.5}
    runs = [make_run(a, s, 0.1 * s + 0.5, metrics=rule) for a in "ab" for s in range(3)]
    (comparison,) = compare(arms_of(runs), "test/score", lambda run, evaluation: None)
    figure = figures.score_figure(comparison)
    assert figure is not None
    dots = [d for d in figure.axes[0].get_lines() if d.get_marker() == "o"]
    assert [list(d.get_xdata()) for d in dots] == [[0.5, 0.6, 0.7]] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["rule 0.79"]
    first, again = figures.save(figure, tmp_path / "a"), figures.save(figure, tmp_path / "b")
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert first[1].read_bytes() == again[1].read_bytes()  # no date, no random ids
