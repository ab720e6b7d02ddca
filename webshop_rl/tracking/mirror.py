"""Replay a run's journal to MLflow, exactly once, whenever and wherever the replay is killed.

How far it got is in mlflow.json, written after the tracker has taken the rows. A kill in between
sends rows again, which changes nothing: MLflow stores an identical (key, step, timestamp, value) once,
params and tags are set to the same values, artifacts are replaced by themselves. The MLflow run
carries the run's own uid as a tag and is looked up by it before one is created.

    journal.jsonl  [run][state][params][tags][metrics][metrics]|[metrics]...
                                          offset in mlflow.json ^
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webshop_rl.storage.files import replace_file
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.client import connect, reason
from webshop_rl.tracking.config import Destination, sqlite_path
from webshop_rl.tracking.database import contains_run, create_database, forget_ready
from webshop_rl.tracking.files import store_file
from webshop_rl.tracking.lineage import send_dataset, send_model
from webshop_rl.tracking.prepare import ensure_ready, find_run, parent_run
from webshop_rl.tracking.rows import Row, scan
from webshop_rl.tracking.traces import send_traces

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

UID_TAG = "webshop_rl.run_uid"
PARENT_TAG = "mlflow.parentRunId"
# MLflow's limits are 1000 metrics, 100 params, 100 tags, 1000 in all and 1 MB a request.
_MAX_METRICS, _MAX_PARAMS, _MAX_TAGS, _MAX_BYTES = 500, 100, 100, 400_000
_MAX_PARAM_CHARS, _MAX_TAG_CHARS = 6000, 8000


@dataclass
class Target:
    """How far one tracker has got: its run, its experiment, bytes of the journal it has taken."""

    run_id: str = ""
    experiment_id: str = ""
    offset: int = 0


@dataclass
class _Batch:
    """Rows that go to the tracker in one request."""

    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    num_bytes: int = 0

    def full(self) -> bool:
        return (
            len(self.metrics) >= _MAX_METRICS
            or len(self.params) >= _MAX_PARAMS
            or len(self.tags) >= _MAX_TAGS
            or self.num_bytes >= _MAX_BYTES
        )

    def empty(self) -> bool:
        return not (self.metrics or self.params or self.tags)


class Mirror:
    """The replay of one run to one tracker.

    Args:
        folder: the run's folder, <root>/runs/<signature>.
        destination: the tracker and its time-outs.
    """

    def __init__(self, folder: Path, destination: Destination) -> None:
        self.folder = folder
        self.destination = destination
        self.journal = RunFolder(folder).journal
        self._client: MlflowClient | None = None
        self._parent: tuple[str, str] = ("", "")

    def behind(self) -> bool:
        """Whether the journal contains bytes that the tracker has not taken."""
        return self.journal.exists() and self.journal.stat().st_size > self.target().offset

    def target(self) -> Target:
        """How far the tracker has got, from mlflow.json."""
        return Target(**_read_state(self.folder).get("targets", {}).get(self.destination.uri, {}))

    def forget_lost(self) -> None:
        """Start anew if the tracker's sqlite file is gone or another than the one that took the journal."""
        database = sqlite_path(self.destination.uri)
        run_id = self.target().run_id
        if database is not None and run_id and not contains_run(database, run_id):
            with RunFolder(self.folder).mirror_lock.acquire():
                self._save(Target())

    def sync(self, *, wait_s: float = 0.0) -> int:
        """Replay what the tracker does not have; returns the number of rows sent.

        Raises: lock.Busy if another process replays this run; UserError on a damaged journal;
            whatever mlflow raises if the tracker is away or refuses.
        """
        if not self.behind():
            return 0
        with RunFolder(self.folder).mirror_lock.acquire(wait_s):
            if self._client is None:
                if (database := sqlite_path(self.destination.uri)) is not None:
                    create_database(database)  # a client makes it in place, and so do all at once
                self._client = connect(self.destination.uri, timeout_s=self.destination.config.timeout_s)
            try:
                return self._replay(self._client, self.target())
            except Exception as error:
                if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
                    raise
                log.warning("MLflow has lost the run of %s (%s): replayed anew", self.folder, reason(error))
                forget_ready(self.destination.uri)
                return self._replay(self._client, Target())

    def _replay(self, client: MlflowClient, target: Target) -> int:
        if not target.run_id:
            first = next((row for _, row in scan(self.journal)), None)
            if first is None:
                return 0  # its first row is being written
            target = self._find_or_create(client, first)
        batch, sent = _Batch(), 0
        done = target.offset
        for end, row in scan(self.journal, target.offset):
            if row["kind"] in ("params", "tags", "metrics"):
                for piece in _pieces(row):
                    if batch.full():
                        # The row's first pieces may be sent twice after a kill; done is before the row.
                        self._send(client, target, batch, done)
                        batch = _Batch()
                    _add(batch, piece)
            else:
                self._send(client, target, batch, done)
                batch = _Batch()
                self._do(client, target, row)
            done, sent = end, sent + 1
        self._send(client, target, batch, done)
        return sent

    def _find_or_create(self, client: MlflowClient, first: Row) -> Target:
        experiment_id = ensure_ready(self.destination)
        run_id = find_run(client, experiment_id, UID_TAG, first["run_uid"])
        if run_id is None:
            tags = {UID_TAG: first["run_uid"]}
            created = client.create_run(
                experiment_id, start_time=first["ts_ms"], tags=tags, run_name=first["run_name"]
            )
            run_id = created.info.run_id
        target = Target(run_id, experiment_id, 0)
        self._save(target)
        return target

    def _send(self, client: MlflowClient, target: Target, batch: _Batch, offset: int) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if not batch.empty():
            client.log_batch(
                target.run_id,
                metrics=[Metric(key, value, ts_ms, step) for key, value, ts_ms, step in batch.metrics],
                params=[Param(k, v) for k, v in batch.params.items()],
                tags=[RunTag(k, v) for k, v in batch.tags.items()],
            )
        if offset != target.offset:
            target.offset = offset
            self._save(target)

    def _do(self, client: MlflowClient, target: Target, row: Row) -> None:
        """Rows that are requests of their own."""
        run_id = target.run_id
        if row["kind"] == "run":
            client.update_run(run_id, name=row["run_name"])
            parent = self._parent_of(row)
            if parent:
                client.set_tag(run_id, PARENT_TAG, parent)
        elif row["kind"] == "state":
            if row["status"] == "RUNNING":
                client.update_run(run_id, status="RUNNING")
            else:
                client.set_terminated(run_id, row["status"], end_time=row["ts_ms"])
        elif row["kind"] == "dataset":
            send_dataset(client, run_id, row)
        elif row["kind"] == "model":
            send_model(
                client, experiment_id=target.experiment_id, run_id=run_id, row=row, journal=self.journal
            )
        else:
            path = self.folder / row["path"]
            if not path.exists():
                log.warning("%s is gone and cannot be stored in MLflow", path)
            elif row["kind"] == "traces":
                send_traces(
                    client,
                    self.destination.uri,
                    experiment_id=target.experiment_id,
                    run_id=run_id,
                    path=path,
                    ts_ms=row["ts_ms"],
                )
            elif not store_file(client, run_id, path, row["folder"]):
                log.warning("MLflow keeps files on another machine: %s stays in the run's folder", path)

    def _parent_of(self, row: Row) -> str:
        """The sweep's parent run in this tracker."""
        if not row["sweep"]:
            return ""
        if self._parent[0] != row["sweep"]:
            self._parent = (row["sweep"], parent_run(self.destination, row["sweep"]))
        return self._parent[1]

    def _save(self, target: Target) -> None:
        state = _read_state(self.folder)
        state["targets"] = {**state.get("targets", {}), self.destination.uri: vars(target)}
        replace_file(RunFolder(self.folder).mirror, json.dumps(state, indent=1))


def run_id_of(folder: Path, uri: str) -> str | None:
    """Id of the MLflow run that a run folder was replayed to, or None if it has none yet."""
    return _read_state(folder).get("targets", {}).get(uri, {}).get("run_id") or None


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(RunFolder(folder).mirror.read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _pieces(row: Row) -> list[tuple[str, str, Any]]:
    """(kind, key, what is stored) of a row's entries."""
    kind = row["kind"]
    if kind == "metrics":
        return [(kind, k, (v, row["ts_ms"], row["step"])) for k, v in row["metrics"].items()]
    limit = _MAX_PARAM_CHARS if kind == "params" else _MAX_TAG_CHARS
    return [(kind, k, _cut(v, limit)) for k, v in row[kind].items()]


def _add(batch: _Batch, piece: tuple[str, str, Any]) -> None:
    kind, key, stored = piece
    if kind == "metrics":
        value, ts_ms, step = stored
        batch.metrics.append((key, value, ts_ms, step))
        batch.num_bytes += len(key) + 100
        return
    (batch.params if kind == "params" else batch.tags)[key] = stored
    batch.num_bytes += len(key) + 6 * len(stored)  # a character is at most \\uXXXX in the request


def _cut(value: str, limit: int) -> str:
    """A value MLflow takes; what is cut says so, and config.yaml among the artifacts has it whole."""
    if len(value) <= limit:
        return value
    note = f"... [cut: {len(value)} characters]"
    return value[: limit - len(note)] + note
