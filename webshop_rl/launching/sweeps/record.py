"""What a launcher tells MLflow: the sweep's parent run, shared children, runs that died without a word."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from webshop_rl.launching.runs.ended import RUN_STATUS, add_tags, close_journal, journalled_end
from webshop_rl.launching.runs.state import State
from webshop_rl.launching.sweeps.describe import describe
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.tracking.client import reason
from webshop_rl.tracking.config import TrackingSettings
from webshop_rl.tracking.mirror import Mirror
from webshop_rl.tracking.prepare import finish_parent_run, parent_run

log = logging.getLogger(__name__)


States = Mapping[Path, tuple[State, str]]


def record_sweep(settings: TrackingSettings, name: str, states: States, *, whole: bool = True) -> None:
    """Bring MLflow to what the launcher knows at the end: every child's state, the parent with its counts.

    A run that another sweep trained is tagged `sweep.<name>` too. Whatever the tracker refuses is
    warned about, for the runs themselves have ended.

    Args:
        settings: the sweep's tracker.
        name: of the sweep.
        states: where each run's folder stands, with its error.
        whole: whether these are all runs of the sweep, so that its parent has ended, too.
    """
    for folder, (state, error) in states.items():
        close_journal(folder, state, error)
    _tag_shared(name, states)
    if not settings.mirrored:
        return
    try:
        for folder in states:
            Mirror(folder, settings).sync()
        counts = Counter(state for state, _ in states.values())
        tags = {f"runs.{s}": str(counts[s]) for s in RUN_STATUS}
        parent = parent_run(settings, name, tags=tags | describe(settings.root, name, states))
        if whole:
            ended_ms = max((journalled_end(folder)[1] for folder in states), default=0) or None
            finish_parent_run(settings, name, parent, _parent_status(counts), ended_ms=ended_ms)
            replace_file(_recorded(settings.root, name), _as_text(states), durable=False)
    except Exception as error:
        log.warning("MLflow has not taken the end of sweep %s: %s", name, reason(error))


def is_recorded(settings: TrackingSettings, name: str, states: States) -> bool:
    """Whether MLflow has been told that the sweep ended so."""
    path = _recorded(settings.root, name)
    return path.exists() and path.read_text() == _as_text(states)


def _recorded(root: Path, name: str) -> Path:
    return Root(root).sweep(name).recorded


def _as_text(states: States) -> str:
    return json.dumps({folder.name: state for folder, (state, _) in sorted(states.items())}, indent=1)


def _tag_shared(name: str, states: States) -> None:
    """Tag, in their journals, the runs whose parent is another sweep's: then any tracker learns of it."""
    for folder in states:
        own = (read_json(RunFolder(folder).signature) or {}).get("sweep")
        if own != name:
            add_tags(folder, {f"sweep.{name}": "shared"})


def _parent_status(counts: Mapping[State, int]) -> str:
    if counts.get(State.FAILED):
        return "FAILED"
    return "KILLED" if any(n and state != State.FINISHED for state, n in counts.items()) else "FINISHED"
