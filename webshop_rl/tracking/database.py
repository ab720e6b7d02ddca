"""MLflow's sqlite file, built once however many processes want it.

Eight processes that open one fresh SQLite file each start MLflow's migrations, all crash, and the
file is ruined. Here one of them builds the database beside its place, under a lock, and renames it; the
others find it, or the note that it is ready, which spares them the import of mlflow.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from webshop_rl.errors import UserError
from webshop_rl.storage.files import replace_file, replacing
from webshop_rl.storage.lock import Busy, FolderLock
from webshop_rl.tracking.client import connect, tracker_errors
from webshop_rl.tracking.config import Destination, sqlite_path
from webshop_rl.tracking.relocate import artifact_location, has_moved, relocate
from webshop_rl.tracking.view import saved_view

if TYPE_CHECKING:
    from mlflow import MlflowClient

_BUILD_WAIT_S = 120.0
# MLflow then opens on the table of runs with their metrics, not on the pages for prompts and judges.
_KIND = {"mlflow.experimentKind": "custom_model_development"}


def ready_experiment(path: Path, destination: Destination) -> str:
    """Id of the experiment in a sqlite file; both are made if need be. Free if they are ready."""
    found = _ready_note(path).get(destination.experiment)
    if found is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with being_set_up(path.parent, path.name):
        experiments = _ready_note(path)
        if destination.experiment not in experiments:
            experiments[destination.experiment] = _build_sqlite(path, destination)
            note = {**_identity(path), "experiments": experiments}
            replace_file(_note_path(path), json.dumps(note))
        return experiments[destination.experiment]


def create_database(path: Path) -> None:
    """Make an empty MLflow database if there is none; give one that was moved its new addresses.

    Either is one step, whatever is killed.
    Raises: UserError if it cannot be made.
    """
    if path.exists() and not has_moved(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with being_set_up(path.parent, path.name):
        _build_database(path)


def _build_database(path: Path) -> None:
    with using(f"sqlite:///{path}"):
        if not path.exists():
            # Migrations are no transaction: a kill among them leaves a file that nothing opens again.
            for left in path.parent.glob(f".{path.name}.*.part*"):
                left.unlink()
            with replacing(path) as part:
                connect(f"sqlite:///{part}", timeout_s=_BUILD_WAIT_S).search_experiments(max_results=1)
                _dispose(f"sqlite:///{part}")
        elif has_moved(path):
            relocate(path)


def _build_sqlite(path: Path, destination: Destination) -> str:
    _build_database(path)
    with using(destination.uri):
        client = connect(destination.uri, timeout_s=destination.config.timeout_s)
        location = artifact_location(path, destination.experiment)
        return find_or_create_experiment(client, destination.experiment, location=location)


def _dispose(uri: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    engine = SqlAlchemyStore._engine_map.pop(uri, None)
    if engine is not None:
        engine.dispose()


def find_or_create_experiment(client: MlflowClient, name: str, *, location: str | None) -> str:
    """Id of the experiment of a name; its files go to a location, or where the server puts them.

    Raises: UserError if it was deleted; what mlflow raises if the tracker is away.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            tags = {**_KIND, **dict([saved_view()])}
            return str(client.create_experiment(name, artifact_location=location, tags=tags))
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


def contains_run(path: Path, run_id: str) -> bool:
    """Whether a sqlite file of MLflow has a run; asked without mlflow, which takes seconds to import."""
    query = "select count(*) from runs where run_uuid = ?"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            return bool(connection.execute(query, (run_id,)).fetchone()[0])
    except sqlite3.DatabaseError:
        return False


def forget_ready(uri: str) -> None:
    """Look again at the next `ensure_ready`: the sqlite file was replaced by another."""
    path = sqlite_path(uri)
    if path is not None:
        _note_path(path).unlink(missing_ok=True)


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.ready.json")


def _identity(path: Path) -> dict[str, Any]:
    version, folder = importlib.metadata.version("mlflow"), str(path.parent)
    return {"mlflow": version, "inode": path.stat().st_ino, "folder": folder}


def _ready_note(path: Path) -> dict[str, str]:
    """Ids of the experiments known to be ready, by name; {} for an absent or another file or MLflow."""
    try:
        note = json.loads(_note_path(path).read_text())
        return dict(note["experiments"]) if note.items() >= _identity(path).items() else {}
    except (OSError, ValueError, AttributeError, KeyError):
        return {}


@contextlib.contextmanager
def being_set_up(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of what only one process may set up. Raises: UserError after two minutes."""
    lock = FolderLock(folder, name)
    try:
        lock.acquire(wait_s=_BUILD_WAIT_S, patience_alive_s=_BUILD_WAIT_S)
    except Busy as error:
        problem = f"the tracker is being set up and that takes long, {error}"
        raise UserError(problem, where=str(folder), remedy="try again") from error
    with lock:
        yield


def using(uri: str) -> contextlib.AbstractContextManager[None]:
    """Within, whatever mlflow raises is a UserError."""
    return tracker_errors(uri, "the tracker cannot be used", "fix it, or launch with tracking=journal")
