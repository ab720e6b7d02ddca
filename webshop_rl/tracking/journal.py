"""The append-only record of a run: what MLflow shows is replayed from it.

Rows are buffered until `flush`, which writes them in one piece and fsyncs. Flush before a checkpoint
is written: then the journal holds every row up to the checkpoint's step, whatever happens.

After a resume the updates since the checkpoint are computed again. Their rows are compared with
those already here and not appended; a difference (wall-clock metrics aside) means that the resume
was not exact, is warned about and kept in `mismatches`.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webshop_rl.storage.files import sync
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.lock import Busy
from webshop_rl.storage.run_status import State
from webshop_rl.tracking import rows
from webshop_rl.tracking.names import is_wall_clock
from webshop_rl.tracking.rows import Row

log = logging.getLogger(__name__)

# MLflow's names of the states of runs that are over.
MLFLOW_STATUS = {State.FINISHED: "FINISHED", State.FAILED: "FAILED", State.INTERRUPTED: "KILLED"}


@dataclass(frozen=True)
class Mismatch:
    """A value computed again after a resume that differs from the journal's."""

    key: str
    step: int
    journalled: float
    recomputed: float


class Journal:
    """The one writer of a run folder's journal.

    Args:
        folder: the run's folder; made if absent.
        clock: seconds since 1970; a test may set it.
        may_write: asked before each write; False means another process has taken the folder over.
    Raises: UserError if a line other than the last is damaged. A torn last line (the process was
        killed inside a flush) is moved to journal.torn.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = RunFolder(folder).journal
        self.mismatches: list[Mismatch] = []
        self.run_uid = uuid.uuid4().hex
        self._clock = clock
        self._may_write = may_write
        self._mutex = threading.Lock()
        self._buffer: list[bytes] = []
        self._values: dict[str, dict[int, float]] = {}
        self._last: dict[str, dict[str, str]] = {"run": {}, "params": {}, "tags": {}}
        new = not self.path.exists()
        if not new:
            repair_tail(self.path)
            for _, row in rows.scan(self.path):
                self._remember(row)
            self.run_uid = self._last["run"].get("run_uid", self.run_uid)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._good_bytes = os.fstat(self._file).st_size
        if new:
            sync(folder)

    def run(self, **identity: str) -> None:
        """Who the run is: run_name, experiment, uri, sweep; appended if it changed."""
        fresh = {"run_uid": self.run_uid, **identity}
        if self._last["run"] != fresh:
            self._append({"kind": "run", "ts_ms": self._now(), **fresh})

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Values at a step; those already recorded for it are compared and left as they are."""
        fresh = {}
        for key, value in values.items():
            number = float(value)
            known = self._values.get(key, {}).get(step)
            if known is None:
                fresh[key] = number
            elif not (number == known or (math.isnan(number) and math.isnan(known))):
                self._note_mismatch(Mismatch(key, step, known, number))
        if fresh:
            self._append({"kind": "metrics", "ts_ms": self._now(), "step": int(step), "metrics": fresh})

    def params(self, values: Mapping[str, str]) -> None:
        """What determines the run. A param never changes: a different value is refused by ValueError."""
        known = self._last["params"]
        for key in values.keys() & known.keys():
            if values[key] != known[key]:
                raise ValueError(f"param {key} was {known[key]!r} and cannot become {values[key]!r}")
        fresh = {k: v for k, v in values.items() if k not in known}
        if fresh:
            self._append({"kind": "params", "ts_ms": self._now(), "params": fresh})

    def tags(self, values: Mapping[str, str]) -> None:
        """What may change between attempts; only changes are appended, and "" is the same as no tag."""
        fresh = {k: v for k, v in values.items() if self._last["tags"].get(k, "") != v}
        if fresh:
            self._append({"kind": "tags", "ts_ms": self._now(), "tags": fresh})

    def last_tag(self, key: str) -> str:
        """The newest value of a tag, of earlier attempts too; "" if it was never set."""
        return self._last["tags"].get(key, "")

    def artifact(self, path: str, folder: str = "") -> None:
        """A file to be stored, by its path relative to the run's folder."""
        self._append({"kind": "artifact", "ts_ms": self._now(), "path": path, "folder": folder})

    def traces(self, path: str) -> None:
        """A file of recorded episodes to be shown as traces."""
        self._append({"kind": "traces", "ts_ms": self._now(), "path": path})

    def dataset(self, **description: Any) -> None:
        """Goals that the run was given: name, digest, context, source, profile."""
        self._append({"kind": "dataset", "ts_ms": self._now(), **description})

    def model(self, **description: Any) -> None:
        """A checkpoint that came of the run: name, step, tags, metrics, dataset."""
        self._append({"kind": "model", "ts_ms": self._now(), **description})

    def state(self, status: str, error: str = "") -> None:
        """RUNNING, FINISHED, FAILED or KILLED."""
        self._append({"kind": "state", "ts_ms": self._now(), "status": status, "error": error})

    def flush(self) -> None:
        """Write what is buffered and wait until it is on disk.

        Raises: OSError if the disk is full or gone (the file is cut back to whole rows);
            RuntimeError if another process has taken the run's folder over.
        """
        with self._mutex:
            if not self._buffer:
                return
            if not self._may_write():
                raise RuntimeError(f"another process has taken over {self.path.parent}: this one stops")
            block = b"".join(self._buffer)
            try:
                written = 0
                while written < len(block):
                    written += os.write(self._file, block[written:])
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._good_bytes)
                raise
            self._good_bytes += len(block)
            self._buffer.clear()

    def close(self) -> None:
        """Flush and close the file; a second call does nothing."""
        if self._file < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._file)
            self._file = -1

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _append(self, row: Row) -> None:
        line = rows.encode(row)
        with self._mutex:
            if self._file < 0:
                raise RuntimeError(f"{self.path} is closed")
            self._buffer.append(line)
            self._remember(row)

    def _remember(self, row: Row) -> None:
        kind = row["kind"]
        if kind == "metrics":
            for key, value in row["metrics"].items():
                self._values.setdefault(key, {})[row["step"]] = value
        elif kind == "run":
            self._last["run"] = {k: v for k, v in row.items() if k not in ("kind", "ts_ms")}
        elif kind in ("params", "tags"):
            self._last[kind] |= row[kind]

    def _note_mismatch(self, mismatch: Mismatch) -> None:
        if is_wall_clock(mismatch.key):
            return
        if not self.mismatches:
            log.warning(
                "resume not exact: %s at step %d was %r and is %r now (further ones are counted)",
                mismatch.key, mismatch.step, mismatch.journalled, mismatch.recomputed,
            )  # fmt: skip
        self.mismatches.append(mismatch)


def close_journal(run: RunFolder, state: State, error: str) -> None:
    """Record in its journal the end of a run that crashed before it could.

    Does nothing for a run whose journal says so already, or that another process appends to.
    """
    if state not in MLFLOW_STATUS or journalled_end(run)[0] != "RUNNING":
        return
    try:
        with run.record_lock.acquire():
            journal = Journal(run.path)
            if error:
                journal.tags({"error": error})
            journal.state(MLFLOW_STATUS[state], error)
            journal.close()
    except Busy:
        return


def add_tags(run: RunFolder, tags: Mapping[str, str]) -> None:
    """Add tags to the journal of a run that has one and that no process appends to."""
    if not run.journal.exists():
        return
    try:
        with run.record_lock.acquire():
            journal = Journal(run.path)
            journal.tags(tags)
            journal.close()
    except Busy:
        return


def journalled_end(run: RunFolder) -> tuple[str, int]:
    """The last state in a run's journal and since when, milliseconds since 1970; ("", 0) without one."""
    state, since = "", 0
    if run.journal.exists():
        for _, row in rows.scan(run.journal):
            if row["kind"] == "state":
                state, since = row["status"], row["ts_ms"]
    return state, since


def repair_tail(path: Path) -> None:
    """Commit or remove a last line that has no newline.

    No proper prefix of a JSON object is one, so a tail that decodes lacks its newline only. Any other
    tail goes to journal.torn. Killed in between, the next call does it again.
    """
    with path.open("r+b") as file:
        kept = _whole_lines(file.read())
        file.seek(kept)
        tail = file.read()
        if not tail:
            return
        try:
            rows.decode(tail)
        except ValueError:
            torn = RunFolder(path.parent).torn_journal
            with torn.open("ab") as moved:
                moved.write(tail + b"\n")
            file.truncate(kept)
            log.warning(
                "%s: the last row was torn by a kill; its %d bytes are in %s", path, len(tail), torn.name
            )
        else:
            file.write(b"\n")
        file.flush()
        os.fsync(file.fileno())


def _whole_lines(content: bytes) -> int:
    return content.rfind(b"\n") + 1
