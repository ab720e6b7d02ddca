"""The page of runs that MLflow is to open on: which columns stand beside a run, which charts come first.

MLflow saves a view as a tag of the experiment and opens it by its name in the address.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from urllib.parse import quote

from webshop_rl.tracking.names import BASELINES

_NAME = "webshop_rl"
# MLflow's pages for prompts and judges come first otherwise.
_MODE = "workflowType=machine_learning"
_COLUMNS = (
    "metrics.`test/score`",
    "metrics.`test/success`",
    "metrics.`val/success`",
    "params.`algo.name`",
    "params.`lr`",
    "params.`seed`",
    "metrics.`time/gpu_hours`",
    "metrics.`train/tokens`",
    "attributes.`Models`",
    "attributes.`Dataset`",
)
# Sections of charts; without an order of ours MLflow sorts them, and twenty of `algo` come first.
_SECTIONS = (
    *("test", "val", "train", "untrained", *map("baseline/{}".format, BASELINES)),
    *("algo", "optim", "vstar", "curriculum", "health", "time", "Model metrics", "System metrics"),
)


def saved_view() -> tuple[str, str]:
    """(key, value) of the tag that saves the view with an experiment."""
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
    state = {
        "selectedColumns": _COLUMNS,
        "compareRunSections": sections,
        "compareRunCharts": [],
        "isAccordionReordered": True,
    }
    return f"mlflow.sharedViewState.{_NAME}", json.dumps(state, separators=(",", ":"))


def runs_page(base: str, experiment_id: str | None) -> str:
    """Address of the page of an experiment's runs; without one, of the list of experiments.

    Args:
        base: http://HOST:PORT of the server.
    """
    if experiment_id is None:
        return f"{base}/#/experiments?{_MODE}"
    return f"{base}/#/experiments/{experiment_id}/runs?{_MODE}&viewStateShareKey={_NAME}"


def newest_experiment(database: Path) -> str | None:
    """Id of the experiment of the run that began last; None if the sqlite file has no run."""
    query = "select experiment_id from runs where lifecycle_stage = 'active' order by start_time desc limit 1"
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)
        ) as connection:
            found = connection.execute(query).fetchone()
    except sqlite3.DatabaseError:
        return None
    return None if found is None else str(found[0])
