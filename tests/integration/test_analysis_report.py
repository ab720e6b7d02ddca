"""Sweeps recorded by the real tracker, read back by the report's command line."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import socket
import sqlite3
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from analysis.load import load_sweep
from analysis.report import main
from analysis.tracker import open_tracker as open_analysis
from analysis.verdict import verdict
from tests.support.recorded_sweeps import (
    DIGEST,
    GOALS,
    NUM_UPDATES,
    Written,
    record,
    record_run,
    settings_of,
)
from tests.support.tracking import destination
from webshop_rl.launching.sweep import Listed, write_manifest
from webshop_rl.storage.folders import Root
from webshop_rl.tracking.config import default_uri
from webshop_rl.tracking.mirror import Mirror
from webshop_rl.tracking.tracker import open_tracker


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Four sweeps in one tracker.

    older: two runs; study adopts one of them. study: apo_pg five seeds (one adopted, one run twice),
    apo_sft five, ppo three, of which one failed and one was stopped. lone: one seed each. five: split none.
    """
    folder = tmp_path_factory.mktemp("runs")
    shared = Written("apo_pg", 0, 0.80)
    record(folder, "older", [shared, Written("apo_pg", 0, 0.5, lr="1e-04")])
    twice = Written("apo_pg", 1, 0.1)
    again = Written("apo_pg", 1, 0.80, generation=1)
    record(folder, "study", [twice])
    study = [again, *(Written("apo_pg", seed, 0.80) for seed in range(2, 5))]
    study += [Written("apo_sft", seed, 0.60) for seed in range(5)]
    study += [Written("ppo", seed, 0.79, status=s) for seed, s in enumerate(["FINISHED", "FAILED", "KILLED"])]
    record(folder, "study", study, adopted=[shared])
    lone = [Written(algo, 9, level) for algo, level in (("apo_pg", 0.9), ("apo_sft", 0.2))]
    record(folder, "lone", lone)
    five = [Written("apo_pg", s, 0.7, split="none", goals=GOALS[:5]) for s in (0, 1)]
    record(folder, "five", five)
    return folder


@dataclass(frozen=True)
class Report:
    """A report that was written."""

    folder: Path
    said: str

    def csv(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"{name}.csv")

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture(scope="module")
def report(root, tmp_path_factory):
    """Writes the report of a sweep, once each."""
    done: dict[str, Report] = {}

    def write(sweep: str) -> Report:
        if sweep not in done:
            out = tmp_path_factory.mktemp(sweep)
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                assert main(["--sweep", sweep, "--root", str(root), "--out", str(out)]) == 0
            done[sweep] = Report(out, said.getvalue())
        return done[sweep]

    return write


def test_every_run_of_the_sweep_is_read_whatever_its_end(report):
    runs = report("study").csv("runs")
    assert len(runs) == 13
    assert runs["status"].value_counts().to_dict() == {"FINISHED": 11, "FAILED": 1, "KILLED": 1}
    assert runs["compared"].sum() == 11
    adopted = runs[runs["adopted"]]
    assert list(adopted["run"]) == ["apo_pg-5e-06-0-product"]
    assert "apo_pg-5e-06-1-product-r1" in set(runs["run"])
    assert "apo_pg-5e-06-1-product" not in set(runs["run"])  # the older of two


def test_one_run_alone(root, tmp_path, capsys):
    # A rerun by its whole name; and of a name that two share, the one that is called exactly so.
    for run, score in (("apo_pg-5e-06-1-product-r1", 0.80), ("apo_pg-5e-06-1-product", 0.1)):
        out = tmp_path / run
        assert main(["--run", run, "--root", str(root), "--out", str(out)]) == 0
        runs = pd.read_csv(out / "runs.csv")
        assert list(runs["run"]) == [run]
        assert runs["test/score"][0] == pytest.approx(score, abs=0.1)
        assert f"Run {run}" in (out / "report.html").read_text()
    capsys.readouterr()
    assert "runs are called 'apo_pg'" in failing(capsys, "--run", "apo_pg", "--root", str(root))
    assert "no run 'x'" in failing(capsys, "--run", "x", "--root", str(root))


def test_runs_by_a_query_over_all_sweeps_and_over_one(root, tmp_path, capsys):
    """All runs of apo_pg with split product, of four sweeps: six seeds of one arm, one of another."""
    out = tmp_path / "all"
    query = "algo=apo_pg env.split=product"
    assert main(["--runs", query, "--root", str(root), "--out", str(out)]) == 0
    runs = pd.read_csv(out / "runs.csv")
    assert sorted(runs["seed"]) == [0, 0, 1, 2, 3, 4, 9]
    assert sorted(runs["arm"].value_counts()) == [1, 6]
    assert f"<h1>Runs with {query}</h1>" in (out / "report.html").read_text()
    # Of a sweep, into a folder of its own; the report stored with the sweep's parent run stays.
    assert main(["study", "--runs", "seed<2", "--root", str(root)]) == 0
    (page,) = (root / "reports").glob("study-seed_2-*/report.html")
    assert len(pd.read_csv(page.with_name("runs.csv"))) == 6
    capsys.readouterr()
    assert "no run has 'lrr' (did you mean lr?)" in failing(capsys, "--runs", "lrr=1", "--root", str(root))
    assert "--run x: is one run" in failing(capsys, "--run", "x", "--runs", "lr=1", "--root", str(root))


def test_several_sweeps_side_by_side(root, tmp_path, capsys):
    out = tmp_path / "both"
    assert main(["--sweep", "study,lone", "--sweep", "older", "--root", str(root), "--out", str(out)]) == 0
    runs = pd.read_csv(out / "runs.csv")
    # The run of older that study adopted counts once, in study, which is named first.
    assert len(runs) == 13 + 2 + 1
    assert runs["run"].is_unique
    assert {arm for arm in runs["arm"] if "apo_sft" in arm} == {
        f"algo=apo_sft lr=5e-06 sweep={name}" for name in ("study", "lone")
    }
    assert "<h1>Sweeps study, lone, older</h1>" in (out / "report.html").read_text()
    line = failing(capsys, "--sweep", "study,five", "--root", str(root))
    assert "sweeps study and five: were tested on different episodes: env.split product and none" in line


def test_the_verdict_claims_what_the_seeds_allow(report):
    said = report("study").said
    said_in_one = " ".join(said.split())
    assert re.match(
        r"algo=apo_pg is best with test/score 0\.79\d \[.*\] over 5 seeds, higher than ", said_in_one
    )
    assert "higher than algo=apo_sft over seeds and products; algo=ppo has one finished seed" in said_in_one
    assert said.rstrip().endswith("report.html")
    detail = report("study").text("report.md")
    assert "11 of 13 runs finished (1 failed, 1 did not finish)." in detail
    assert "algo=apo_pg is higher than algo=apo_sft, over seeds and over products." in detail
    assert "algo=ppo has one finished seed" in detail
    assert "whether another would do the same, this sweep cannot tell" in report("lone").text("report.md")
    assert "no interval over seeds" in report("lone").text("report.md")


def test_means_and_pairs_are_those_of_the_recorded_scores(report):
    study = report("study")
    runs, arms, pairs = study.csv("runs"), study.csv("summary").set_index("arm"), study.csv("pairs")
    scores = runs[runs["compared"]].groupby("arm")["test/score"]
    for arm in ("algo=apo_pg", "algo=apo_sft"):
        assert arms.loc[arm, "test/score mean"] == pytest.approx(scores.get_group(arm).mean())
        low, high = (arms.loc[arm, f"test/score mean {end}"] for end in ("low", "high"))
        assert low < scores.get_group(arm).mean() < high
    assert arms.loc["baseline/rule", "test/score mean"] == pytest.approx(0.55 + 0.3 * 10 / 40)
    pair = pairs[(pairs["a"] == "algo=apo_pg") & (pairs["b"] == "algo=apo_sft")].iloc[0]
    expected = scores.get_group("algo=apo_pg").mean() - scores.get_group("algo=apo_sft").mean()
    assert pair["a - b over seeds"] == pytest.approx(expected)
    assert pair["a - b over products"] == pytest.approx(expected)  # the same episodes, by goal
    assert pair["p_corrected"] == pytest.approx(2 / math.comb(10, 5))
    goals = study.csv("goals")
    assert goals.groupby("arm").size().to_dict() == {f"algo={a}": 40 for a in ("apo_pg", "apo_sft", "ppo")}


def test_curves_are_whole_histories(report, root):
    curves = report("study").csv("curves")
    one = curves[(curves["run"] == "apo_sft-5e-06-2-product") & (curves["metric"] == "train/return_mean")]
    assert list(one["step"]) == list(range(1, NUM_UPDATES + 1))
    rows = (root / "runs/apo_sft-5e-06-2-product/journal.jsonl").read_text().splitlines()
    metrics = [r["metrics"] for r in map(json.loads, rows) if r["kind"] == "metrics"]
    written = [m["train/return_mean"] for m in metrics if "train/return_mean" in m]
    assert list(one["value"]) == pytest.approx(written)
    failed = curves[(curves["run"] == "ppo-5e-06-1-product") & (curves["metric"] == "val/success")]
    assert list(failed["step"]) == [4, 8]


def test_unequal_amounts_of_data_are_pointed_out_with_their_figures(report):
    text = report("study").text("report.md")
    (caution,) = (line for line in text.splitlines() if "unequal amounts of data" in line)
    assert "apo_sft: 120 + 80 for V* episodes, 600 env steps, 4,800 tokens" in caution.replace("algo=", "")
    assert "ppo: 30 episodes, 150 env steps, 1,200 tokens" in caution.replace("algo=", "")
    assert "num_episodes" in caution
    runs = report("study").csv("runs").query("compared")
    assert set(runs.query("arm.str.contains('ppo')")["train/episodes"]) == {30}
    # Arms of equal numbers are not warned of.
    assert "unequal amounts" not in report("lone").text("report.md")


def test_curves_can_be_drawn_against_what_was_consumed(report, root, tmp_path):
    plain = (report("study").folder / "figures" / "val_success.svg").read_bytes()
    out = tmp_path / "by_episodes"
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["--sweep", "study", "--root", str(root), "--out", str(out), "--x", "episodes"]) == 0
    assert (out / "figures" / "val_success.svg").read_bytes() != plain
    curves = pd.read_csv(out / "curves.csv")
    assert curves.query("metric == 'train/episodes' and arm.str.contains('ppo')")["value"].max() == 30


def test_the_page_needs_nothing_beside_it(report):
    page = report("study").text("report.html")
    assert page.count("data:image/svg+xml;base64,") >= 2 * 3  # each figure for a screen and for a phone
    assert not re.findall(r'(?:src|srcset|href)="(?!data:)', page)  # nor a link: these runs have no log
    assert page.count("<script") == 1
    assert "Diverged: the loss is | not &lt;finite&gt; at update 8" in page
    assert DIGEST in page
    assert "V* samples are shared by runs of algo=apo_pg; algo=apo_sft" in page
    HTMLChecker().check(page)
    for name in ("final_1", "val_success", "train_return_mean"):
        assert (report("study").folder / f"figures/{name}.png").stat().st_size > 5000
        assert f"figures/{name}.png" in report("study").text("report.md")


def test_training_goals_are_labelled(report):
    five = report("five")
    assert five.said.startswith("On training goals, ")
    assert "These are training goals (split none)" in five.text("report.md")
    assert "5 training goals of 5 products" in five.text("report.md")
    assert "split none, digest d1d1d1d1d1d1" in five.text("report.md")


class HTMLChecker(HTMLParser):
    """Fails on a tag that is not closed, or closed out of turn."""

    _VOID = ("meta", "img", "br", "link", "source", "input")

    def check(self, page: str) -> None:
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def failing(capsys, *arguments: str) -> str:
    """The one line that a command ends with."""
    assert main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_an_unknown_sweep_is_answered_with_close_names(root, capsys):
    line = failing(capsys, "--root", str(root), "--sweep", "stduy")
    assert "no sweep 'stduy' (did you mean study?)" in line
    line = failing(capsys, "--root", str(root), "--sweep", "x' OR 1=1")
    assert "newest first: five, lone, study, older" in line


def test_without_a_name_the_newest_sweep_is_reported(root, tmp_path, capsys):
    assert main(["--root", str(root), "--out", str(tmp_path / "out")]) == 0
    assert "<h1>Sweep five</h1>" in (tmp_path / "out/report.html").read_text()


def test_a_place_without_records_is_one_line_and_stays_empty(tmp_path, capsys):
    line = failing(capsys, "--root", str(tmp_path), "--sweep", "study")
    assert line.startswith(f"error: {tmp_path / 'mlflow.db'}: no such database (--root")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlflow.db").write_text("something else entirely, long enough to be a header of a file" * 9)
    assert "is not a database of MLflow" in failing(capsys, "--root", str(tmp_path), "--sweep", "study")
    sqlite3.connect(tmp_path / "empty.db").close()
    line = failing(capsys, "--tracking-uri", f"sqlite:///{tmp_path / 'empty.db'}", "--sweep", "study")
    assert "is not a database of MLflow" in line
    assert (tmp_path / "empty.db").stat().st_size == 0
    assert "is no address of MLflow" in failing(capsys, "--tracking-uri", "ftp://x", "--sweep", "study")


def test_a_server_that_is_away_is_one_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        line = failing(capsys, "--tracking-uri", address, "--sweep", "study")
    assert line.startswith(f"error: {address}: cannot be read:")


def test_a_folder_that_cannot_be_written_is_one_line(root, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    line = failing(capsys, "--root", str(root), "--sweep", "lone", "--out", str(tmp_path / "taken" / "x"))
    assert "cannot be written" in line


def _ended(root: Path, sweep: str) -> str:
    """The first sentence of the verdict, as the report takes it from the records."""
    uri = default_uri(root)
    return verdict(load_sweep(open_analysis(uri), uri, sweep, root=root), [])


def test_a_sweep_is_counted_by_its_plan_stopped_and_launched_again(tmp_path):
    one, two, three, four = (Written("apo_pg", seed, 0.8) for seed in range(4))
    two.status = "KILLED"
    listed = [Listed(w.name, w.signature, (f"seed={w.seed}",)) for w in (one, two, three, four)]
    write_manifest(Root(tmp_path), "stopped", listed, [])
    # One done, Ctrl-C into the second, two not started.
    record(tmp_path, "stopped", [one, two])
    assert _ended(tmp_path, "stopped").startswith(
        "PRELIMINARY, the sweep is not over: 1 of 4 runs finished (2 to come, 1 did not finish)."
    )
    # Launched again: the parent still counts one interrupted run, which goes on, and the last is at work.
    _resume(tmp_path, "stopped", two)
    record_run(tmp_path, "stopped", three, settings_of(tmp_path))
    last = tmp_path / "runs" / four.name
    tags = {"signature": four.signature, "folder": str(last)}
    settings = settings_of(tmp_path)
    journal = destination(tmp_path, kind="journal", experiment="test")
    with open_tracker(last, journal, run_name="x", params={"seed": 3}, tags=tags, sweep="stopped"):
        for folder in (tmp_path / "runs").iterdir():
            Mirror(folder, settings).sync()
        assert _ended(tmp_path, "stopped").startswith(
            "PRELIMINARY, the sweep is not over: 3 of 4 runs finished (1 running)."
        )


def _resume(root: Path, sweep: str, run: Written) -> None:
    folder = root / "runs" / run.name
    settings = destination(root, kind="journal", experiment="test")
    with open_tracker(folder, settings, run_name=run.name, params={}, tags={}, sweep=sweep) as tracker:
        tracker.metrics(NUM_UPDATES, {"test/score": 0.8, "test/success": 0.8})


def test_two_sweeps_of_one_name_are_distinguished_by_their_ids(root, tmp_path, capsys):
    # another root whose sweep "lone" goes to the same tracker
    other = destination(tmp_path, default_uri(root), experiment="test")
    record(tmp_path, "twin", [Written("apo_pg", 77, 0.5)], settings=other)
    record(tmp_path, "lone", [Written("apo_pg", 78, 0.5)], settings=other)
    line = failing(capsys, "--root", str(root), "--sweep", "lone")
    assert "2 sweeps are called 'lone'" in line
    newest = re.findall(r"[0-9a-f]{32}", line)[0]
    assert main(["--root", str(root), "--sweep", newest, "--out", str(tmp_path / "out")]) == 0
    assert list(pd.read_csv(tmp_path / "out/runs.csv")["seed"]) == [78]
