"""Where the evidence of a run lies: its log, and its record in MLflow, as addresses of links."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from webshop_rl.storage.folders import Root, RunFolder

from .load import Run


def links_of(runs: Iterable[Run], folder: Path, root: Path | None, uri: str) -> dict[str, str]:
    """Addresses by what leads there: the name of a run's folder to its log, its id to MLflow's page.

    A log's address is relative, so that it holds where the root is moved or copied with its reports; a log
    that is not there has none. MLflow has pages where it is a server.

    Args:
        folder: of the report.
        root: of the runs; None for where they say they lie.
        uri: of the tracker.
    """
    found = {}
    for run in runs:
        own = RunFolder(Path(run.tags.get("folder", ""))) if root is None else Root(root).run(run.folder_name)
        if own.log.is_file():
            found[run.folder_name] = quote(Path(os.path.relpath(own.log, folder)).as_posix())
        if uri.startswith(("http://", "https://")):
            found[run.run_id] = f"{uri}/#/experiments/{run.record.info.experiment_id}/runs/{run.run_id}"
    return found
