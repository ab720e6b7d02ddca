"""What MLflow shows of a sweep: its parent run, shared children, runs that crashed, what was left undone."""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from webshop_rl.config.groups import TrackingConfig
from webshop_rl.config.load import read
from webshop_rl.launching.progress import read_result
from webshop_rl.launching.reconcile import settle
from webshop_rl.launching.sweep import Manifest, read_manifest
from webshop_rl.launching.views import RunView, baselines, success_and_score
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import GOING, State
from webshop_rl.tracking.client import DESCRIPTION_TAG, MAX_DESCRIPTION_CHARS, reason
from webshop_rl.tracking.config import Destination
from webshop_rl.tracking.journal import MLFLOW_STATUS, add_tags, close_journal, journalled_end
from webshop_rl.tracking.mirror import Mirror
from webshop_rl.tracking.prepare import finish_parent_run, may_write_here, parent_run
from webshop_rl.tracking.tracker import user_name

log = logging.getLogger(__name__)

States = Mapping[RunFolder, tuple[State, str]]

# Of a description; the rest is for the report, which puts its table before this one.
_MAX_CHARS = MAX_DESCRIPTION_CHARS * 3 // 5
_HEAD = "run | state | test/success | test/score"


def record_sweep(destination: Destination, name: str, states: States, *, whole: bool = True) -> None:
    """Bring MLflow to what the launcher knows at the end: every child's state, the parent with its counts.

    A run that another sweep trained is tagged `sweep.<name>` too. Whatever the tracker refuses is
    warned about, for the runs themselves have ended.

    Args:
        destination: the sweep's tracker.
        name: of the sweep.
        states: where each run's folder stands, with its error.
        whole: whether these are all runs of the sweep, so that its parent has ended, too.
    """
    root = Root(destination.root)
    for folder, (state, error) in states.items():
        close_journal(folder, state, error)
    _tag_shared(name, states)
    if not destination.mirrored:
        return
    try:
        for folder in states:
            Mirror(folder.path, destination).sync()
        counts = Counter(state for state, _ in states.values())
        tags = {f"runs.{s}": str(counts[s]) for s in MLFLOW_STATUS}
        parent = parent_run(destination, name, tags=tags | describe(root, name, states))
        if whole:
            ended_ms = max((journalled_end(folder)[1] for folder in states), default=0) or None
            finish_parent_run(destination, name, parent, _parent_status(counts), ended_ms=ended_ms)
            replace_file(root.sweep(name).recorded, _as_text(states), durable=False)
    except Exception as error:
        log.warning(
            "MLflow has not taken the end of sweep %s yet: %s; nothing is lost, report and status bring it",
            name,
            reason(error),
        )


def is_recorded(destination: Destination, name: str, states: States) -> bool:
    """Whether MLflow has it that the sweep ended so."""
    path = Root(destination.root).sweep(name).recorded
    return path.exists() and path.read_text() == _as_text(states)


def _as_text(states: States) -> str:
    ended = {folder.name: state for folder, (state, _) in states.items()}
    return json.dumps(ended, indent=1, sort_keys=True)


def _tag_shared(name: str, states: States) -> None:
    """Tag, in their journals, the runs whose parent is another sweep's: then any tracker learns of it."""
    for folder in states:
        own = (read_json(folder.signature) or {}).get("sweep")
        if own != name:
            add_tags(folder, {f"sweep.{name}": "shared"})


def _parent_status(counts: Mapping[State, int]) -> str:
    if counts.get(State.FAILED):
        return "FAILED"
    return "KILLED" if any(n and state != State.FINISHED for state, n in counts.items()) else "FINISHED"


def describe(root: Root, name: str, states: States) -> dict[str, str]:
    """Tags of the parent run: description, command, user and source, under the names MLflow shows them by.

    Args:
        root: folder of the runs.
        name: of the sweep.
        states: where each run's folder stands, with its error.
    """
    manifest = read_manifest(root, name)
    if manifest is None:
        return {}
    return {
        DESCRIPTION_TAG: _description(manifest, states),
        "mlflow.user": user_name(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "launch.py",
        "command": shlex.join(manifest.command),
        "common": " ".join(manifest.common),
        "runs.planned": str(len(manifest.runs)),
    }


def _description(manifest: Manifest, states: States) -> str:
    by_run = {folder.name: (folder, state) for folder, (state, _) in states.items()}
    counts = Counter(str(state) for state, _ in states.values())
    ended = ", ".join(f"{num} {state}" for state, num in sorted(counts.items()))
    lines = [f"{len(manifest.runs)} runs: {ended}", "", f"`{shlex.join(manifest.command)}`", ""]
    results = {run: read_result(folder) for run, (folder, _) in by_run.items()}
    table = [_HEAD, "--- | --- | --- | ---"]
    found = [(listed.label, results[listed.run]) for listed in manifest.runs if listed.run in results]
    rows = baselines([label for label, _ in found], [result for _, result in found])
    table += [f"{name} | | {success} | {score}" for name, success, score in rows]
    for listed in manifest.runs:
        state = by_run[listed.run][1] if listed.run in by_run else "to come"
        numbers = success_and_score(results.get(listed.run, {}))
        table.append(" | ".join((listed.label or listed.run, state, *numbers)))
    size = len("\n".join(lines))
    for number, row in enumerate(table):
        size += len(row) + 1
        if size > _MAX_CHARS:
            lines.append(f"... and {len(table) - number} more rows")
            break
        lines.append(row)
    return "\n".join(lines)


def states_of(views: Iterable[RunView]) -> States:
    """Where the runs stand, with their errors."""
    return {view.folder: (view.status.state, view.status.error) for view in views}


def replay_sweep(root: Root, manifest: Manifest, views: Sequence[RunView]) -> None:
    """Replay journals that the tracker has not taken whole, and write down the ends of runs that crashed.

    Costs nothing where nothing is left: mlflow is imported only if there is.

    Args:
        manifest: of a sweep, or of single runs.
        views: all its runs as they stand.
    """
    for view in views:
        if settle(view.folder, view.status):
            close_journal(view.folder, view.status.state, view.status.error)
    destination = _destination_of(root, [view.folder for view in views])
    if destination is None or not may_write_here(destination.uri):
        return
    if not destination.mirrored:
        return
    ended = states_of(view for view in views if view.status.state not in GOING)
    whole = len(ended) == len(views)
    behind = [mirror for folder in ended if (mirror := Mirror(folder.path, destination)).behind()]
    if not manifest.name:
        _replay(behind)
    elif behind or (whole and not is_recorded(destination, manifest.name, ended)):
        record_sweep(destination, manifest.name, ended, whole=whole)


def _replay(behind: Sequence[Mirror]) -> None:
    for mirror in behind:
        try:
            mirror.sync()
        except Exception as error:
            log.warning("MLflow has not taken all of run %s: %s", mirror.folder.name, reason(error))


def _destination_of(root: Root, folders: Sequence[RunFolder]) -> Destination | None:
    """The tracker of these runs; None if none of them was frozen by this code."""
    for folder in folders:
        with contextlib.suppress(KeyError, TypeError):
            config = read(folder.config) if folder.config.exists() else {}
            tracking = TrackingConfig(**config["tracking"])
            return Destination(tracking, root.path, str(config["experiment_name"]))
    return None
