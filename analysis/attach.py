"""What the parent run of a sweep carries of its report: verdict, table of arms, page."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from webshop_rl.tracking.client import DESCRIPTION_TAG, MAX_DESCRIPTION_CHARS
from webshop_rl.tracking.files import store_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from .page import Report

_MAX_TAG_CHARS = 8000
_FOLDER = "report"
_FILES = ("report.html", "summary.csv", "failures.md")
# Between what the report says and what the launcher wrote of each run.
_RULE = "\n\n---\n\n"


def attach(client: MlflowClient, parent_id: str, report: Report, folder: Path) -> None:
    """Store the report with the sweep's parent run; what the tracker refuses is let be.

    Its description opens with the headline and the table of arms, before what the launcher wrote of each run.

    Args:
        folder: of the report's files.
    """
    with contextlib.suppress(Exception):
        for name in _FILES:
            store_file(client, parent_id, folder / name, _FOLDER)
        verdict = f"{report.headline} {report.verdict}"
        client.set_tag(parent_id, "verdict", verdict[:_MAX_TAG_CHARS])
        present = client.get_run(parent_id).data.tags.get(DESCRIPTION_TAG, "")
        client.set_tag(parent_id, DESCRIPTION_TAG, described(report, present))


def described(report: Report, present: str) -> str:
    """The description with this report at its head, in the place of an earlier one.

    Args:
        present: what stands there now. What the launcher wrote is kept whole: it tells by it whether the
            runs have changed.
    """
    runs = present.rpartition(_RULE)[2]
    head = "\n\n".join([report.headline, *(table.markdown() for table in report.first)])
    room = MAX_DESCRIPTION_CHARS - len(_RULE) - len(runs)
    if len(head) > room:
        head = report.headline
    return f"{head}{_RULE}{runs}" if len(head) <= room else present
