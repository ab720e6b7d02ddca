"""What a run calls to be recorded.

    with open_tracker(folder, destination, run_name=..., params=..., tags=...) as tracker:
        tracker.metrics(step, {"train/score": 0.25})
        tracker.flush()            # once an update, and always before a checkpoint is written

Leaving the block marks the run FINISHED, Ctrl-C KILLED, an exception FAILED, unless `finish` was called in
it (a preempted run has not failed). Only rank 0 records.
"""

from __future__ import annotations

import getpass
import json
import logging
import math
import os
import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from webshop_rl.errors import UserError
from webshop_rl.storage.files import replace_file
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.lock import STALE_S, Busy, FolderLock
from webshop_rl.tracking import names
from webshop_rl.tracking.background import BackgroundMirror
from webshop_rl.tracking.client import DESCRIPTION_TAG
from webshop_rl.tracking.config import Destination
from webshop_rl.tracking.journal import Journal, Mismatch
from webshop_rl.tracking.mirror import Mirror, run_id_of
from webshop_rl.tracking.prepare import may_write_here

log = logging.getLogger(__name__)

STATUSES = ("FINISHED", "FAILED", "KILLED")
TABLES_TAG = "mlflow.loggedArtifacts"
_STOPPED_WAIT_S = 5.0  # a cluster kills what does not end soon after its signal
_KEY = re.compile(r"[\w\-. :/]{1,250}")


@dataclass(frozen=True)
class Dataset:
    """Goals as MLflow shows a dataset.

    Attributes:
        name: "shop5 test"; together with the digest it identifies the dataset.
        digest: at most 36 characters.
        context: what the run does with them: "train", "val" or "test".
        source: what makes them.
        profile: what there is to know of them, by name.
    """

    name: str
    digest: str
    context: str
    source: str
    profile: Mapping[str, int | str]


class Tracker:
    """What a run calls to be recorded; this one records nothing: it is that of every rank but the first."""

    mismatches: Sequence[Mismatch] = ()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Values at an update step."""

    def tags(self, values: Mapping[str, Any]) -> None:
        """What may change between attempts."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """A file in the run's folder to be stored in MLflow."""

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows to be shown as a table."""

    def traces(self, name: str, episodes: Iterable[Mapping[str, Any]]) -> None:
        """Recorded episodes to be shown as traces."""

    def dataset(self, dataset: Dataset) -> None:
        """Goals that the run trains, validates or is tested on."""

    def model(
        self, name: str, checkpoint: Path, *, step: int, metrics: Sequence[str], tested_on: Dataset
    ) -> None:
        """A checkpoint that is worth keeping, with metrics of it that were recorded before."""

    def flush(self) -> None:
        """Make everything so far survive a kill."""

    def finish(self, status: str = "FINISHED", error: BaseException | None = None) -> None:
        """End the record."""

    @property
    def run_id(self) -> str | None:
        """Id of the MLflow run, once it has one."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish("FINISHED")
        elif isinstance(error, KeyboardInterrupt):
            self.finish("KILLED")
        else:
            self.finish("FAILED", error)


class JournalTracker(Tracker):
    """The record of one run: journal first, MLflow in the background. Made by `open_tracker`."""

    def __init__(self, folder: Path, destination: Destination, lock: FolderLock) -> None:
        self.folder = folder
        self.destination = destination
        self._lock = lock
        self._journal = Journal(folder, may_write=lock.held)
        self._background: BackgroundMirror | None = None
        self._tables: list[dict[str, str]] = json.loads(self._journal.last_tag(TABLES_TAG) or "[]")
        self._open = True

    @property
    def mismatches(self) -> Sequence[Mismatch]:  # type: ignore[override]
        """Values computed again after a resume that differ from the first ones (wall-clock aside)."""
        return self._journal.mismatches

    @property
    def run_id(self) -> str | None:
        """Id of the MLflow run, once it has one."""
        return run_id_of(self.folder, self.destination.uri)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Values at an update step; a (name, step) recorded before a resume is compared, not repeated.

        Raises: ValueError on a name that is not in tracking.names.
        """
        names.check(values)
        self._journal.metrics(step, values)

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags: what may change between attempts. Raises: ValueError on a key MLflow refuses."""
        self._journal.tags(_as_text(values))

    def artifact(self, path: Path, folder: str = "") -> None:
        """Have a file stored in MLflow too, under folder.

        Args:
            path: a file inside the run's folder, read when it is replayed.
            folder: artifact folder, "" for the top.
        Raises: ValueError if the file lies elsewhere; a later replay could not find it.
        """
        self._journal.artifact(self._relative(path), folder)

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows as tables/<name>.json, in the format MLflow's evaluation page and load_table read.

        Args:
            name: file name without its ending.
            rows: one mapping a row; the columns are those of all rows, in order of appearance.
        """
        columns = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[_cell(row.get(column)) for column in columns] for row in rows]
        path = RunFolder(self.folder).table(name)
        replace_file(path, json.dumps({"columns": columns, "data": cells}, ensure_ascii=False))
        self.artifact(path, path.parent.name)
        entry = {"path": self._relative(path), "type": "table"}
        if entry not in self._tables:
            self._tables.append(entry)
        self.tags({TABLES_TAG: json.dumps(self._tables)})

    def traces(self, name: str, episodes: Iterable[Mapping[str, Any]]) -> None:
        """Write episodes as traces/<name>.json and have the first `tracking.traces` shown in MLflow.

        Args:
            name: file name without its ending; with the run and the index it identifies a trace.
            episodes: in the order in which they are worth reading; each {"goal": str, "score": float,
                "feedback": {name: value}, "turns": [{"page", "reply", "action", "reward", "parts"}]};
                further keys are kept as attributes.
        """
        chosen = [dict(episode) for episode in islice(episodes, self.destination.config.traces)]
        if chosen:
            path = RunFolder(self.folder).trace_file(name)
            replace_file(path, json.dumps(chosen, ensure_ascii=False))
            self._journal.traces(self._relative(path))

    def dataset(self, dataset: Dataset) -> None:
        """Goals that the run trains, validates or is tested on, as a dataset of MLflow."""
        self._journal.dataset(**asdict(dataset))

    def model(
        self, name: str, checkpoint: Path, *, step: int, metrics: Sequence[str], tested_on: Dataset
    ) -> None:
        """Show a checkpoint as a logged model of MLflow; its files stay where they are.

        Args:
            checkpoint: its folder.
            step: update of the checkpoint.
            metrics: names of metrics of it that were recorded before.
            tested_on: dataset that they are of.
        """
        tags = {"checkpoint": str(checkpoint.resolve()), "update": str(step)}
        measured_on = {"name": tested_on.name, "digest": tested_on.digest}
        self._journal.model(name=name, step=step, tags=tags, metrics=list(metrics), dataset=measured_on)

    def flush(self) -> None:
        """Make everything so far survive a kill; some ms. Always call it before writing a checkpoint.

        Raises: OSError if the disk is full; RuntimeError if another process took the run over.
        """
        self._journal.flush()

    def finish(self, status: str = "FINISHED", error: BaseException | None = None) -> None:
        """End the record: FINISHED, FAILED, or KILLED, stopped and to be resumed.

        Waits at most tracking.final_sync_s for MLflow, 5 s if the run is to be resumed; what it has not
        taken then is left for the resume, or for webshop_rl.tracking.sync. A second call does nothing.
        """
        if not self._open:
            return
        if status not in STATUSES:
            raise ValueError(f"status {status!r} is none of {', '.join(STATUSES)}")
        self._open = False
        try:
            if error is not None:
                self._record_error(error)
            if self.mismatches:
                self.tags({"resume_mismatches": len(self.mismatches)})
                log.warning("resume not exact: %d values differ from those before it", len(self.mismatches))
            self._journal.state(status, "" if error is None else _first_line(error))
            self._journal.close()
            wait_s = self.destination.config.final_sync_s
            if status == "KILLED":
                wait_s = min(wait_s, _STOPPED_WAIT_S)
            if self._background and not self._background.finish(wait_s):
                said = "MLflow has not taken everything yet; nothing is lost: report and status bring it, or"
                log.warning("%s python -m webshop_rl.tracking.sync %s", said, self.folder.parent)
        finally:
            self._lock.release()

    def begin(self, identity: Mapping[str, str], params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """The first rows of an attempt, and the thread that replays to MLflow."""
        self._journal.run(**identity)
        self._journal.state("RUNNING")
        if self._journal.last_tag("error"):
            self._journal.tags({"error": "", DESCRIPTION_TAG: ""})
        self._journal.params(_as_text(params))
        self._journal.tags(_as_text(tags))
        self._journal.flush()
        if not self.destination.mirrored:
            return
        if may_write_here(self.destination.uri):
            self._background = BackgroundMirror(Mirror(self.folder, self.destination))
        else:
            log.warning("the sqlite tracker is the launching machine's to write: this run keeps its journal")

    def _record_error(self, error: BaseException) -> None:
        path = RunFolder(self.folder).error
        replace_file(path, "".join(traceback.format_exception(error)))
        self._journal.artifact(path.name)
        line = _first_line(error)
        self.tags({"error": line, DESCRIPTION_TAG: f"Failed: {line}\n\nThe traceback is in {path.name}."})

    def _relative(self, path: Path) -> str:
        return path.resolve().relative_to(self.folder.resolve()).as_posix()


def open_tracker(
    run_dir: Path,
    destination: Destination,
    *,
    run_name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, Any],
    sweep: str | None = None,
    rank: int = 0,
) -> Tracker:
    """Begin or continue a run's record; call it before the checkpoint is read, for it locks the folder.

    Args:
        run_dir: <root>/runs/<signature>.
        destination: where it is recorded.
        run_name: what MLflow shows.
        params: what determines the run, flattened; the same at every attempt.
        tags: what may differ between attempts (host, commit, ...).
        sweep: the sweep's name; its parent run in MLflow is found or created by it.
        rank: of this process; only rank 0 records.
    Raises: UserError if another process is executing this run, or the journal is damaged;
        ValueError if a param differs from an earlier attempt's, or MLflow would refuse a key.
    """
    if rank != 0:
        return Tracker()
    lock = RunFolder(run_dir).record_lock
    try:
        lock.acquire(wait_s=1.5 * STALE_S)
    except Busy as error:
        raise UserError(
            f"another process is executing this run: {error}",
            where=str(run_dir),
            remedy="wait for it, or end it; the same command resumes the run",
        ) from error
    try:
        tracker = JournalTracker(run_dir, destination, lock)
        identity = {
            "run_name": run_name,
            "experiment": destination.experiment,
            "uri": destination.recorded_uri,
            "sweep": sweep or "",
        }
        tracker.begin(identity, params, tags)
    except BaseException:
        lock.release()
        raise
    return tracker


def user_name() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may know no name for its user
        return str(os.getuid())


def _as_text(values: Mapping[str, Any]) -> dict[str, str]:
    for key in values:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} cannot be a param or tag: letters, digits and _-./: only, 250 at most")
    return {key: str(value) for key, value in values.items()}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{kind}{lines[0]}"[:500]


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
