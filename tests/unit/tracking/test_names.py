"""Metric names: what is listed, what is refused, and the page that explains them."""

import subprocess
import sys

import pytest

from tests.support.paths import DOCS, REPOSITORY
from webshop_rl.tracking import names


def test_the_glossary_in_docs_is_the_one_the_module_prints():
    assert (DOCS / "metrics.md").read_text() == names.glossary() + "\n"


def test_names_are_unique_and_each_is_explained():
    listed = [m.name for m in names.METRICS]
    assert len(set(listed)) == len(listed)
    for metric in names.METRICS:
        assert metric.meaning.endswith(".")
        assert metric.unit


def test_the_final_names_of_every_evaluation_exist():
    for prefix in ("test", "val", "untrained", *map("baseline/{}".format, names.BASELINES)):
        for end in ("success", "score"):
            assert names.describe(f"{prefix}/{end}").better == "up"


def test_a_typo_is_refused_and_close_names_are_listed():
    with pytest.raises(ValueError, match=r"did you mean .*test/success"):
        names.check(["train/score", "test/succes"])


def test_open_families_take_any_well_formed_member_and_nothing_else():
    names.check(["algo/advantage_mean", "health/clipped"])
    for bad in ("algo/", "algo/Advantage", "algo/a b", "algo/*", "health/x@1", "optim/new", "algo/a//b"):
        with pytest.raises(ValueError, match="unknown metric"):
            names.describe(bad)


def test_wall_clock_metrics_are_told_from_results():
    assert names.is_wall_clock("time/train_s")
    assert names.is_wall_clock("system/rss_mb")
    assert not names.is_wall_clock("train/score")


def test_modules_used_at_launch_import_neither_torch_nor_mlflow():
    modules = "names, config, tracker, prepare, sync, serve, rows, journal"
    heavy = "{'torch', 'mlflow'} & set(sys.modules)"
    code = f"import sys; from webshop_rl.tracking import {modules}\nprint({heavy})"
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert printed.stdout.strip() == "set()"
