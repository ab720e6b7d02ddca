"""Make a tracker ready before anything is queued, and make it ready once.

Eight processes that open one fresh SQLite file each start MLflow's migrations, all die, and the file
is ruined. Here one of them builds the database beside its place, under a lock, and renames it; the
others find it, or the note that it is ready, which spares them the import of mlflow.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webshop_rl.errors import UserError
from webshop_rl.tracking.client import connect, reason
from webshop_rl.tracking.config import TrackingSettings, sqlite_path
from webshop_rl.tracking.files import write_atomic
from webshop_rl.tracking.lock import Busy, FolderLock
from webshop_rl.tracking.reach import check_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT_TAG = "webshop_rl.sweep_uid"
_BUILD_WAIT_S = 120.0


@dataclass(frozen=True)
class TrackerInfo:
    """A tracker that is ready: absolute sqlite URI or URL, name and id of the experiment."""

    uri: str
    experiment: str
    experiment_id: str


def check_tracker(settings: TrackingSettings) -> None:
    """For the launching process: find out in milliseconds whether the tracker can be used.

    A sqlite file is from now on written by this machine alone: network file systems do not lock it.
    If it is not there yet, `prepare_tracker` or the first run makes it. Does not import mlflow; with
    tracking=journal nothing is checked, for no tracker is needed.
    Raises: UserError if a server does not answer, or a folder cannot be written.
    """
    path = sqlite_path(settings.uri)
    if not settings.mirrored:
        return
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError("the file is read-only")
            if writing_host(settings.uri) != socket.gethostname():
                write_atomic(_host_path(path), socket.gethostname())
        except OSError as error:
            raise UserError(
                f"cannot be written ({error.strerror or error})",
                where=str(path),
                remedy="set tracking.uri or root, or launch with tracking=journal",
            ) from error
    elif settings.uri.startswith("http"):
        check_server(settings.uri, timeout_s=settings.timeout_s)


def prepare_tracker(settings: TrackingSettings) -> TrackerInfo:
    """For the launching process: `check_tracker`, then create database and experiment if need be.

    Raises: UserError if the tracker cannot be reached or used.
    """
    check_tracker(settings)
    return ensure_ready(settings)


def ensure_ready(settings: TrackingSettings) -> TrackerInfo:
    """For any process: create database and experiment, or find them. Free if a sqlite file is ready."""
    path = sqlite_path(settings.uri)
    if path is not None:
        return TrackerInfo(settings.uri, settings.experiment, _ready_sqlite(path, settings))
    with _told_as_user_error(settings.uri):
        client = connect(settings.uri, timeout_s=settings.timeout_s)
        found = _experiment(client, settings.experiment, artifacts=None)
    return TrackerInfo(settings.uri, settings.experiment, found)


def forget_ready(uri: str) -> None:
    """Look again at the next `ensure_ready`: the sqlite file was replaced by another."""
    path = sqlite_path(uri)
    if path is not None:
        _note_path(path).unlink(missing_ok=True)


def may_write_here(uri: str) -> bool:
    """False for a sqlite file that was launched from another machine."""
    return writing_host(uri) in (None, socket.gethostname())


def writing_host(uri: str) -> str | None:
    """The one machine that may write a sqlite file; None if any may, or it is no file."""
    path = sqlite_path(uri)
    try:
        return None if path is None else _host_path(path).read_text()
    except OSError:
        return None


def parent_run(settings: TrackingSettings, sweep: str, tags: dict[str, str] | None = None) -> str:
    """Id of the sweep's parent run; found if it is there, else created. Needs the tracker."""
    info = ensure_ready(settings)
    uid = sweep_uid(settings.root, sweep)
    with _lock(settings.root, "mlflow.parent"), _told_as_user_error(settings.uri):
        client = connect(settings.uri, timeout_s=settings.timeout_s)
        found = find_run(client, info.experiment_id, PARENT_TAG, uid)
        if found is None:
            marks = {PARENT_TAG: uid, "sweep": sweep, **(tags or {})}
            found = client.create_run(info.experiment_id, tags=marks, run_name=sweep).info.run_id
        elif tags:
            for key, value in tags.items():
                client.set_tag(found, key, value)
        return found


def finish_parent_run(settings: TrackingSettings, run_id: str, status: str) -> None:
    """Set the parent's final status: FINISHED, FAILED or KILLED."""
    with _told_as_user_error(settings.uri):
        connect(settings.uri, timeout_s=settings.timeout_s).set_terminated(run_id, status)


def find_run(client: MlflowClient, experiment_id: str, tag: str, value: str) -> str | None:
    """Id of the oldest run that carries the tag, or None."""
    found = client.search_runs(
        [experiment_id], f"tags.`{tag}` = '{value}'", max_results=1, order_by=["attributes.start_time ASC"]
    )
    return str(found[0].info.run_id) if found else None


def sweep_uid(root: Path, sweep: str) -> str:
    """What tells this root's sweep from one of the same name elsewhere on the same server."""
    path = root / "root.uid"
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{uuid.uuid4().hex}")
        part.write_text(uuid.uuid4().hex)
        with contextlib.suppress(FileExistsError):
            os.link(part, path)  # unlike a rename, this leaves another process's uid in place
        part.unlink()
    return f"{path.read_text().strip()}/{sweep}"


def _ready_sqlite(path: Path, settings: TrackingSettings) -> str:
    found = _ready_note(path).get(settings.experiment)
    if found is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path.parent, path.name):
        experiments = _ready_note(path)
        if settings.experiment not in experiments:
            experiments[settings.experiment] = _build_sqlite(path, settings)
            note = {**_identity(path), "experiments": experiments}
            write_atomic(_note_path(path), json.dumps(note))
        return experiments[settings.experiment]


def create_database(path: Path) -> None:
    """Make an empty MLflow database, if there is none, in one step whatever is killed.

    Raises: UserError if it cannot be made.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path.parent, path.name):
        _build_database(path)


def _build_database(path: Path) -> None:
    with _told_as_user_error(f"sqlite:///{path}"):
        if not path.exists():
            # Migrations are no transaction: a kill among them leaves a file that nothing opens again.
            for left in path.parent.glob(f".{path.name}.*.building*"):
                left.unlink()
            part = path.with_name(f".{path.name}.{os.getpid()}.building")
            connect(f"sqlite:///{part}", timeout_s=_BUILD_WAIT_S).search_experiments(max_results=1)
            _dispose(f"sqlite:///{part}")
            os.replace(part, path)


def _build_sqlite(path: Path, settings: TrackingSettings) -> str:
    _build_database(path)
    with _told_as_user_error(settings.uri):
        client = connect(settings.uri, timeout_s=settings.timeout_s)
        return _experiment(client, settings.experiment, artifacts=path.parent / "mlartifacts")


def _dispose(uri: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    engine = SqlAlchemyStore._engine_map.pop(uri, None)
    if engine is not None:
        engine.dispose()


def _experiment(client: MlflowClient, name: str, *, artifacts: Path | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        location = None if artifacts is None else (artifacts / name).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except Exception:
            # Another process may have been faster; if not, the error is the one to show.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(
            f"experiment {name!r} was deleted in MLflow",
            where="experiment_name",
            remedy=f"mlflow experiments restore -x {found.experiment_id}, or another experiment_name",
        )
    return str(found.experiment_id)


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.ready.json")


def _identity(path: Path) -> dict[str, Any]:
    return {"mlflow": importlib.metadata.version("mlflow"), "inode": path.stat().st_ino}


def _ready_note(path: Path) -> dict[str, str]:
    """Ids of the experiments known to be ready, by name; {} for an absent or another file or MLflow."""
    try:
        note = json.loads(_note_path(path).read_text())
        return dict(note["experiments"]) if note.items() >= _identity(path).items() else {}
    except (OSError, ValueError, AttributeError, KeyError):
        return {}


def _host_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.host")


@contextlib.contextmanager
def _lock(folder: Path, name: str) -> Any:
    lock = FolderLock(folder, name)
    try:
        lock.acquire(wait_s=_BUILD_WAIT_S, patience_alive_s=_BUILD_WAIT_S)
    except Busy as error:
        problem = f"the tracker is being set up and that takes long, {error}"
        raise UserError(problem, where=str(folder), remedy="try again") from error
    with lock:
        yield


@contextlib.contextmanager
def _told_as_user_error(uri: str) -> Any:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if "out-of-date database schema" in str(error):
            remedy = f"mlflow db upgrade {uri}"
            raise UserError("was made by another version of MLflow", where=uri, remedy=remedy) from error
        remedy = "mend it, or launch with tracking=journal"
        raise UserError(f"the tracker cannot be used: {reason(error)}", where=uri, remedy=remedy) from error
