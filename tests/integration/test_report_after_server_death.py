"""A real MLflow server that is killed while a sweep runs, and does not come back: the report is the same."""

from __future__ import annotations

import signal
from pathlib import Path

import pandas as pd
import pytest

from analysis.arms import arms_of
from analysis.building import curves_needed
from analysis.cautions import cautions
from analysis.checkpoints import ends_of
from analysis.comparison import compare
from analysis.frames import frames, write_curves
from analysis.headline import headline
from analysis.load import load_curves, load_sweep
from analysis.readers import goal_reader
from analysis.report import replay
from analysis.tracker import open_tracker, tracker_uri
from analysis.verdict import verdict
from tests.support.mlflow_server import Server
from tests.support.recorded_sweeps import Written, record, record_run
from tests.support.sweep_command import wait_until
from tests.support.tracking import destination

RUNS = [Written(algo, seed, level) for algo, level in (("apo_pg", 0.7), ("ppo", 0.6)) for seed in (0, 1)]
DIES_IN, DIES_AT = 1, 6  # run, update: of four runs of twelve updates


@pytest.fixture
def cut_off(tmp_path: Path) -> Path:
    """The root of a sweep whose server was killed with half of its second run recorded."""
    root = tmp_path / "cut_off"
    root.mkdir()
    server = Server(root)
    settings = destination(
        root, server.url, experiment="test", sync_every_s=0.1, timeout_s=1.5, final_sync_s=1.0
    )

    def stored() -> int:
        of_run = f"run_uuid = (select run_uuid from runs where name = '{RUNS[DIES_IN].name}')"
        ((num,),) = server.query(f"select count(*) from metrics where key = 'train/tokens' and {of_run}")
        return int(num)

    def kill(update: int) -> None:
        if update == DIES_AT:
            wait_until(lambda: stored() == DIES_AT)
            server.signal(signal.SIGKILL)
            server.process.wait()

    try:
        server.start()
        for number, run in enumerate(RUNS):
            record_run(
                root, "s", run, settings, after_update=kill if number == DIES_IN else lambda update: None
            )
        assert stored() == DIES_AT
    finally:
        if server.process.poll() is None:
            server.signal(signal.SIGKILL)
        server.log.close()
    return root


def reported(root: Path) -> tuple[list[str], dict[str, pd.DataFrame]]:
    """What a report says, and the numbers of its files; pages and figures are made of these alone."""
    replay(root)
    uri = tracker_uri(root, None)
    client = open_tracker(uri)
    sweep = load_sweep(client, uri, "s", root=root)
    arms = arms_of(sweep.runs)
    comparisons = compare(arms, "test/score", goal_reader(client, uri, "test/score", root))
    curves = load_curves(client, uri, sweep.runs, curves_needed(arms, "updates"))
    said = [headline(sweep, comparisons), verdict(sweep, comparisons)]
    said += map(str, cautions(sweep, arms, comparisons))
    tables = frames(arms, comparisons, {}, ends_of(sweep.runs, curves, []))
    write_curves(arms, curves, root / "curves.csv")
    tables["curves"] = pd.read_csv(root / "curves.csv")
    tables["runs"] = tables["runs"].drop(columns="mlflow_run")
    return said, tables


def test_a_server_killed_during_the_sweep_changes_nothing_in_the_report(
    cut_off: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    record(whole, "s", RUNS)
    said, tables = reported(cut_off)
    expected, same = reported(whole)
    assert said == expected
    assert len(tables["curves"]) > 100
    assert list(tables) == list(same)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, same[name], obj=name)
