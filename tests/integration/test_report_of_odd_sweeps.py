"""Sweeps that are empty, failed, of one run, of NaN or of two shops: exit codes and what is said."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from analysis.report import main
from tests.support.recorded_sweeps import GOALS, Written, record
from webshop_rl.launching.sweep import Listed, write_manifest
from webshop_rl.storage.folders import Root

SWEEPS = {
    "empty": [],
    "failed": [Written("apo_pg", seed, 0.5, status="FAILED") for seed in (0, 1)],
    "one": [Written("apo_pg", 10, 0.5)],
    "nan": [Written("apo_pg", 20, float("nan")), Written("apo_pg", 21, 0.5)],
    "shops": [Written("ppo", 30, 0.5), Written("ppo", 31, 0.6, split="none", goals=GOALS[:5])],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, runs in SWEEPS.items():
        record(folder, name, runs)
    return folder


def test_a_sweep_without_runs_is_one_line(root, capsys):
    assert main(["empty", "--root", str(root)]) == 2
    assert capsys.readouterr().err.startswith("error: sweep empty: contains no run (")


@pytest.mark.parametrize(
    ("sweep", "begins", "caution"),
    [
        ("failed", "No run has finished with a test", "no run finished, so it is in no comparison"),
        ("one", "apo_pg webshop tiny reached test/score 0.", "Every arm has one finished seed"),
        ("nan", "apo_pg webshop tiny reached test/score 0.", "1 of 2 runs did not finish"),
        (
            "shops",
            "Test set 1 of 2: On training goals, env.split=none",
            "differ in the shop itself (env.split)",
        ),
    ],
)
def test_every_other_sweep_has_a_report_that_says_what_it_lacks(root, capsys, sweep, begins, caution):
    assert main([sweep, "--root", str(root)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(begins)
    assert caution in said
    runs = pd.read_csv(root / "reports" / sweep / "runs.csv")
    assert len(runs) == len(SWEEPS[sweep])
    for file in ("report.html", "report.md", "summary.csv", "episodes.jsonl", "failures.md"):
        assert (root / "reports" / sweep / file).is_file()


def test_tables_of_a_sweep_in_which_every_run_failed_have_their_headings(root, capsys):
    assert main(["failed", "--root", str(root)]) == 0
    capsys.readouterr()
    folder = root / "reports" / "failed"
    heads = {path.stem: list(pd.read_csv(path).columns) for path in folder.glob("*.csv")}
    assert set(heads) == {"summary", "runs", "pairs", "goals", "curves"}
    assert len(pd.read_csv(folder / "summary.csv")) == 0
    assert heads["summary"][:4] == ["test_set", "arm", "seeds", "runs"]
    assert {"test/success mean", "test/score mean low", "test/score IQM high"} <= set(heads["summary"])
    assert {"test_set", "arm", "goal", "asin", "episodes"} == set(heads["goals"])


def test_a_page_leads_to_the_logs_that_are_there_and_says_what_launched_the_sweep(root, capsys, monkeypatch):
    there, lost = SWEEPS["failed"]
    log = Root(root).run(there.name).log
    log.write_text("what it printed")
    command = ["webshop-rl sweep", "-m", "algo=apo_pg", "seed=0,1", "model.path=a b"]
    monkeypatch.setattr("sys.argv", command)
    listed = [Listed(run.name, run.signature, (f"seed={run.seed}",)) for run in (there, lost)]
    write_manifest(Root(root), "failed", listed, [])
    assert main(["failed", "--root", str(root)]) == 0
    capsys.readouterr()
    folder = root / "reports" / "failed"
    page = (folder / "report.html").read_text()
    addresses = set(re.findall(r'<a href="([^"]*)">', page))
    assert addresses == {f"../../runs/{there.name}/log.txt"}
    assert (folder / addresses.pop()).read_text() == "what it printed"
    assert page.count(f">{there.name}</a>") == 2  # among all runs, and those that did not finish
    assert "webshop-rl sweep algo=apo_pg seed=0,1 &#39;model.path=a b&#39;</pre>" in page
    assert "Code: git commit abc." in page
    markdown = (folder / "report.md").read_text()
    assert f"| [{there.name}](../../runs/{there.name}/log.txt) |" in markdown
    assert "webshop-rl sweep algo=apo_pg seed=0,1 'model.path=a b'" in markdown
    (run,) = pd.read_csv(folder / "runs.csv").query(f"run == '{lost.name}'")["mlflow_run"]
    assert run in page
