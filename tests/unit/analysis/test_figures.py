from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from analysis import arm_figures, figures
from analysis.arms import arms_of
from analysis.axes import AXES
from analysis.comparison import compare
from analysis.drawing import INK, NARROW, WIDE, Wanted
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


def test_behind_the_panels_of_many_runs_is_the_span_of_all_of_them():
    """70 runs of 10 arms, each a line at a height of its own."""
    runs = [make_run(f"a{i}", seed, score=0.5) for i in range(10) for seed in range(7)]
    heights = {run.run_id: i / 100 for i, run in enumerate(runs)}
    long = points({run_id: dict.fromkeys(range(1, 301), height) for run_id, height in heights.items()})
    arms = arms_of(runs)
    assert figures.behind(arms) == "the span of all runs"
    assert figures.behind(arms[:2]) == "the runs of the others"  # 14
    figure = figures.curve_figure(arms, long, "val/success")
    assert figure is not None
    first = figure.axes[0]
    vertices = first.collections[0].get_paths()[0].vertices
    assert (vertices[:, 1].min(), vertices[:, 1].max()) == (0.0, 0.69)
    assert len(line(first, 0.7)) == 7  # its own runs alone
    steps, values = line(first, 0.7)[0]
    assert len(steps) == figures.MAX_POINTS
    assert (steps[0], steps[-1], set(values)) == (1, 300, {heights[arms[0].runs[0].run_id]})
    shown = figures.shown_numbers(arms, figures.placed(long, "val/success", AXES["updates"]))
    assert len(shown) == len(long)  # ten arms have room


def test_without_panels_the_leading_arms_have_colours_and_the_others_are_grey():
    for seeds in (1, 7):  # the others one by one, and as the span of all
        runs = [make_run(f"a{i}", seed, score=0.5) for i in range(10) for seed in range(seeds)]
        curves = points({run.run_id: {1: 0.1 * seed, 2: 0.5} for run in runs for seed in [int(run.seed)]})
        arms = arms_of(runs)
        found = figures.placed(curves, "val/success", AXES["updates"])
        figure = figures.placed_figure(arms, found, "val/success", AXES["updates"], panels=False)
        assert figure is not None
        (axes,) = figure.axes
        thick = [to_hex(d.get_color()).upper() for d in axes.get_lines() if d.get_linewidth() == 2.2]
        assert thick == list(figures.COLOURS)
        grey = [d for d in axes.get_lines() if to_hex(d.get_color()) == to_hex(figures.GRID)]
        assert len(grey) == (3 if seeds == 1 else 0)
        assert len(figures.shown_numbers(arms, found, panels=False)) == 2 * seeds * figures.MAX_TOGETHER


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
    for width, panels in ((WIDE, "beside"), (NARROW, "below")):
        figure = arm_figures.reached_figure(comparison, width)
        assert figure is not None
        success, score = figure.axes
        assert (success.get_xlabel(), score.get_xlabel()) == ("test/success", "test/score")
        tops = {axes.get_position().y0 for axes in figure.axes}
        assert (len(tops) == 1) == (panels == "beside")
        for axes in (success, score):
            dots = [d for d in axes.get_lines() if d.get_marker() == "o"]
            assert [list(d.get_xdata()) for d in dots] == [[0.5, 0.6, 0.7]] * 2
        assert [line.get_xdata()[0] for line in (success.get_lines()[-1], score.get_lines()[-1])] == [
            0.5,
            0.79,
        ]
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["rule 0.50, 0.79"]


def test_a_figure_is_written_for_screens_phones_and_both_schemes(tmp_path):
    runs = [make_run(a, s, 0.1 * s + 0.5) for a in ("a$b$", "<script>x</script>") for s in range(3)]
    (comparison,) = compare(arms_of(runs), "test/score", lambda run, evaluation: None)

    def draw(width):
        return arm_figures.reached_figure(comparison, width)

    numbers = arm_figures.reached_numbers(comparison)
    first = Wanted(draw, "Scores.", tmp_path / "a", numbers).picture()
    again = Wanted(draw, "Scores.", tmp_path / "b", numbers).picture()
    assert first is not None
    assert again is not None
    assert first.png.read_bytes().startswith(b"\x89PNG")
    assert first.svg.read_bytes() == again.svg.read_bytes()  # no date, no random ids
    widths = [float(re.search(r'width="([\d.]+)pt"', p.read_text())[1]) for p in (first.svg, first.narrow)]
    assert widths == pytest.approx([72 * WIDE, 72 * NARROW], rel=0.01)
    text = first.svg.read_text()
    assert "prefers-color-scheme: dark" in text
    assert text.count("var(--ink)") > 10
    assert INK not in text.replace(f"--ink: {INK}", "")  # every line and letter follows the scheme
    assert "<script" not in text
    assert list(pd.read_csv(first.csv).columns) == ["arm", "metric", "mean", "low", "high", "seeds"]


def test_pareto_keeps_what_nothing_beats_at_less_cost():
    # (cost, value); the second costs more than the first for less, the last two tie in value
    assert arm_figures.pareto([(1.0, 0.5), (2.0, 0.4), (3.0, 0.9), (4.0, 0.9), (0.5, 0.1)]) == [4, 0, 2]


def test_sensitivity_is_drawn_for_every_swept_key_small_rates_on_a_log_axis():
    runs = [
        make_run(a, s, v + 0.01 * s, lr=lr)
        for a in "ab"
        for lr, v in (("1e-06", 0.2), ("1e-05", 0.6))
        for s in (0, 1)
    ]
    (comparison,) = compare(arms_of(runs), "test/score", lambda run, evaluation: None)
    arms = [r.arm for r in comparison.results]
    assert arm_figures.swept_keys(arms) == ["algo.name", "lr"]
    figure = arm_figures.sensitivity_figure(comparison, "lr")
    assert figure is not None
    assert figure.axes[0].get_xscale() == "log"
    numbers = arm_figures.sensitivity_numbers(comparison, "lr")
    assert list(numbers["lr"]) == [1e-06, 1e-05] * 2
    assert list(numbers["mean"]) == pytest.approx([0.205, 0.605] * 2)
    # Words stand beside each other, the settings of the others a little apart, and no line joins them.
    words = arm_figures.sensitivity_figure(comparison, "algo.name")
    assert words is not None
    assert [text.get_text() for text in words.axes[0].get_xticklabels()] == ["a", "b"]
    (fast, slow) = (list(drawn.lines[0].get_xdata()) for drawn in words.axes[0].containers)
    assert fast == [-0.125, 0.875]
    assert slow == [0.125, 1.125]
    assert {drawn.lines[0].get_linestyle() for drawn in words.axes[0].containers} == {"None"}


def test_a_sweep_of_words_alone_has_no_sensitivity_for_the_first_picture_shows_it():
    runs = [make_run(a, s, 0.5 + 0.1 * s) for a in "ab" for s in (0, 1)]
    assert arm_figures.swept_keys(arms_of(runs)) == []


def test_a_key_that_one_algorithm_lacks_is_drawn_for_those_that_have_it():
    runs = [make_run("a", s, 0.5, algo__kl=kl) for kl in ("0.1", "0.5") for s in (0, 1)]
    runs += [make_run("b", s, 0.7) for s in (0, 1)]
    (comparison,) = compare(arms_of(runs), "test/score", lambda run, evaluation: None)
    assert "algo.kl" in arm_figures.swept_keys([r.arm for r in comparison.results])
    assert list(arm_figures.sensitivity_numbers(comparison, "algo.kl")["algo.kl"]) == [0.1, 0.5]


def test_stages_of_a_curriculum_have_a_panel_each_and_without_one_there_is_none():
    stages = json.dumps([{"name": "easy"}, {"name": "hard"}])
    runs = [make_run("a", s, 0.5, curriculum__stages=stages) for s in (0, 1)]
    rows = [(run.run_id, "stage/easy/val_success", step, step / 10) for run in runs for step in (1, 2, 3)]
    rows += [(runs[0].run_id, "stage/hard/val_success", 3, 0.1)]
    curves = pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])
    figure = figures.stages_figure(arms_of(runs), curves, "val_success")
    assert figure is not None
    easy, hard = (axes for axes in figure.axes if axes.get_title())
    assert (easy.get_title(), hard.get_title()) == ("easy", "hard")
    assert line(easy, 0.7) == [([1, 2, 3], [0.1, 0.2, 0.3])] * 2
    assert line(hard, 0.7) == [([3], [0.1])]
    assert figures.stages_figure(arms_of([make_run()]), curves, "val_success") is None


def test_the_place_of_a_point_is_what_its_run_had_logged_last() -> None:
    """Against pandas' merge, for runs that log at steps of their own, some of them nothing."""
    rng = np.random.default_rng(0)
    rows = []
    for run in "abcdef":
        for metric, share in (("val/success", 0.3), ("train/tokens", 0.6 * (run != "c"))):
            steps = np.flatnonzero(rng.random(60) < share)
            rows += [(run, metric, int(step), float(rng.random())) for step in steps]
    first = next(n for n, row in enumerate(rows) if row[1] == "train/tokens")
    rows[first] = (*rows[first][:3], float("nan"))
    curves = pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])
    points = curves[curves["metric"] == "val/success"]
    line = curves[curves["metric"] == "train/tokens"].rename(columns={"value": "consumed"})
    merged = pd.merge_asof(
        points.sort_values("step"), line.sort_values("step"), on="step", by="run_id", suffixes=("", "_line")
    )
    merged = merged[merged["run_id"] != "c"].sort_values(["run_id", "step"])
    for given in (curves, curves.astype({"run_id": "category"}), curves.sample(frac=1, random_state=0)):
        found = figures.placed(given, "val/success", AXES["tokens"]).sort_values(["run_id", "step"])
        assert found["place"].to_list() == merged["consumed"].fillna(0.0).to_list()
        assert found["step"].to_list() == merged["step"].to_list()


def test_figures_drawn_in_processes_are_those_of_one(tmp_path: Path) -> None:
    program = """
import sys, threading
from pathlib import Path
from matplotlib.figure import Figure
from analysis.drawing import Wanted, drawing

def draw(width, height):
    if not height:
        return None
    figure = Figure(figsize=(width, height))
    figure.subplots().plot([0, height])
    return figure

folder = Path(sys.argv[1])
wanted = [Wanted(lambda width, h=h: draw(width, h), f"of {h}", folder / str(h)) for h in (2, 0, 3)]
assert threading.active_count() == 1
for made in drawing(wanted)():
    print(made and made.caption)
alone = [Wanted(own.draw, own.caption, folder / f"alone{own.path.name}").picture() for own in wanted]
for h in (2, 3):
    assert (folder / f"{h}.svg").read_bytes() == (folder / f"alone{h}.svg").read_bytes()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["of 2", "None", "of 3"], done.stderr
