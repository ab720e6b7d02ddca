"""The page of runs that MLflow is to open on: which columns stand beside a run, which charts come first.

MLflow saves a view as a tag of the experiment and opens it by its name in the address.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from webshop_rl.tracking.names import BASELINES

_NAME = "webshop_rl"
_KEY = "mlflow.sharedViewState."
# MLflow's pages for prompts and judges come first otherwise.
_MODE = "workflowType=machine_learning"
_COLUMNS = (
    "metrics.`test/score`",
    "metrics.`test/success`",
    "metrics.`time/gpu_hours`",
    "metrics.`train/tokens`",
    "params.`algo.name`",
    "params.`lr`",
    "params.`seed`",
)
# Sections of charts; without an order of ours MLflow sorts them, and twenty of `algo` come first.
_SECTIONS = (
    *("test", "val", "train", "untrained", *map("baseline/{}".format, BASELINES)),
    *("algo", "optim", "vstar", "curriculum", "health", "time", "Model metrics", "System metrics"),
)


def saved_view(sweep: str | None = None) -> tuple[str, str]:
    """(key, value) of the tag that saves the view with an experiment.

    Args:
        sweep: show the runs of this sweep alone, the best first; by default sweeps are shown, the newest
            first, with their runs folded.
    """
    sections = [
        {
            "uuid": name,
            "name": name,
            "display": True,
            "isReordered": True,
            "deleted": False,
            "isGenerated": True,
        }
        for name in _SECTIONS
    ]
    state: dict[str, Any] = {
        "selectedColumns": _COLUMNS,
        "compareRunSections": sections,
        "compareRunCharts": [],
        "isAccordionReordered": True,
        "runsHiddenMode": "FIRST_20_RUNS",
    }
    if sweep is not None:
        # In another order than that of time no run is folded, and the parent, without a score, comes last.
        best_first = {"orderByKey": "metrics.`test/score`", "orderByAsc": False}
        state |= {"searchFilter": f"tags.sweep = '{sweep}'", **best_first}
    return f"{_KEY}{sweep or _NAME}", json.dumps(state, separators=(",", ":"))


def runs_page(base: str, experiment_id: str | None, view: str | None) -> str:
    """Address of the page of an experiment's runs; without one, of the list of experiments.

    Args:
        base: http://HOST:PORT of the server.
        view: key of the tag that saves a view with the experiment; None for MLflow's own.
    """
    if experiment_id is None:
        return f"{base}/#/experiments?{_MODE}"
    page = f"{base}/#/experiments/{experiment_id}/runs?{_MODE}"
    return page if view is None else f"{page}&viewStateShareKey={view.removeprefix(_KEY)}"


def experiment_of(database: Path, sweep: str | None = None) -> str | None:
    """Id of the experiment of the newest run, or of a sweep's; None if the sqlite file has no such run."""
    query = "select experiment_id from runs where lifecycle_stage = 'active'"
    if sweep is not None:
        query += " and run_uuid in (select run_uuid from tags where key = 'sweep' and value = :sweep)"
    address = f"file:{quote(str(database))}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            rows = connection.execute(f"{query} order by start_time desc limit 1", {"sweep": sweep})
            found = rows.fetchone()
    except sqlite3.DatabaseError:
        return None
    return None if found is None else str(found[0])
