from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from analysis.evidence import links_of
from tests.support.analysis_runs import make_run
from webshop_rl.storage.folders import Root

SQLITE = "sqlite:///x"


def test_a_log_that_is_there_has_a_relative_address(tmp_path: Path) -> None:
    root = tmp_path / "a root"
    runs = [make_run(seed=seed) for seed in (0, 1)]
    log = Root(root).run(runs[0].folder_name).log
    log.parent.mkdir(parents=True)
    log.write_text("")
    name = runs[0].folder_name
    assert links_of(runs, root / "reports/study", root, SQLITE) == {name: f"../../runs/{name}/log.txt"}
    # Elsewhere, through a folder whose name has a blank.
    assert links_of(runs, tmp_path / "out", root, SQLITE) == {name: f"../a%20root/runs/{name}/log.txt"}
    # Without a root the run says where it lay.
    moved = replace(runs[0], tags={**runs[0].tags, "folder": str(log.parent)})
    assert links_of([moved], tmp_path, None, SQLITE) == {name: f"a%20root/runs/{name}/log.txt"}
    log.unlink()
    assert links_of(runs, root / "reports/study", root, SQLITE) == {}


def test_a_server_has_a_page_of_a_run(tmp_path: Path) -> None:
    run = replace(make_run(), record=SimpleNamespace(info=SimpleNamespace(experiment_id="7")))
    address = f"http://h:5000/#/experiments/7/runs/{run.run_id}"
    assert links_of([run], tmp_path, tmp_path, "http://h:5000") == {run.run_id: address}
