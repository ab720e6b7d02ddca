"""Opens the MLflow tracker that has the records, for reading, with waits that are bounded."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlparse

import numpy as np

from webshop_rl.errors import UserError
from webshop_rl.storage.folders import Root
from webshop_rl.tracking.client import connect, tracker_errors
from webshop_rl.tracking.files import kept_here

if TYPE_CHECKING:
    from mlflow import MlflowClient

Points = tuple[Any, Any]  # arrays of equal length: steps, values
ReadMetric = Callable[[str, str], Points]

_SQLITE = "sqlite:///"
_SERVERS = ("http://", "https://", "postgresql", "mysql", "mssql")
_OTHER_PLACE = "--root FOLDER or --tracking-uri URI says where the records are"
# Longest wait for one answer of a server.
_TIMEOUT_S = 30.0


def tracker_uri(root: Path, uri: str | None) -> str:
    """The address to read: uri if it is given, else the sqlite file under root.

    Raises: UserError if it is of a kind that contains no MLflow records.
    """
    if uri is None:
        return f"{_SQLITE}{Root(root.expanduser().resolve()).database}"
    if uri.startswith(_SQLITE):
        return f"{_SQLITE}{Path(uri.removeprefix(_SQLITE)).expanduser().resolve()}"
    if uri.startswith(_SERVERS) and "://" in uri:
        return uri.rstrip("/")
    raise UserError(
        f"{uri!r} is no address of MLflow",
        where="--tracking-uri",
        remedy="http://HOST:PORT or sqlite:///FILE",
    )


def is_file(uri: str) -> bool:
    """Whether the tracker is a sqlite file, which each process opens for itself; uri: from tracker_uri."""
    return uri.startswith(_SQLITE)


def open_tracker(uri: str) -> MlflowClient:
    """A client of the tracker; nothing is created where there is none.

    Args:
        uri: from tracker_uri.
    Raises: UserError if a sqlite file is not there, or is not MLflow's.
    """
    if is_file(uri):
        _check_file(Path(uri.removeprefix(_SQLITE)))
    return connect(uri, timeout_s=_TIMEOUT_S, retries=1)


def reading(uri: str) -> contextlib.AbstractContextManager[None]:
    """Within, whatever mlflow raises is a UserError."""
    return tracker_errors(uri, "cannot be read", _OTHER_PLACE)


@contextlib.contextmanager
def metric_reader(client: MlflowClient, uri: str) -> Iterator[ReadMetric]:
    """Reads a metric of a run: its steps in order, and the values; of a step recorded twice the later one.

    Of a sqlite file they are read directly: MLflow's client makes an object of each point, which for a
    thousand runs takes minutes.
    """
    if not is_file(uri):

        def ask(run_id: str, name: str) -> Points:
            points = client.get_metric_history(run_id, name)
            return _last_of_each(
                [(p.step, p.value) for p in sorted(points, key=lambda p: (p.step, p.timestamp))]
            )

        yield ask
        return
    with contextlib.closing(_open_read_only(Path(uri.removeprefix(_SQLITE)))) as connection:
        value = "case when is_nan then null else value end"
        query = f"select step, {value} from metrics where run_uuid = ? and key = ? order by step"

        def read(run_id: str, name: str) -> Points:
            rows = connection.execute(query, (run_id, name)).fetchall()
            if len({step for step, _ in rows}) < len(rows):
                # Only then by time too, which no index has.
                rows = connection.execute(f"{query}, timestamp", (run_id, name)).fetchall()
            return _last_of_each(rows)

        yield read


def _last_of_each(rows: Sequence[tuple[int, float | None]]) -> Points:
    """Of (step, value) in order of step and time the last of each step; None is not a number."""
    columns = zip(*rows, strict=True) if rows else ((), ())
    steps, values = (np.array(c, dtype=kind) for c, kind in zip(columns, (np.int64, float), strict=True))
    last = np.append(steps[1:] != steps[:-1], True)[: len(steps)]
    return steps[last], values[last]


def read_artifact(client: MlflowClient, run: Any, path: str) -> str | None:
    """Text of a run's artifact, or None if the tracker does not have it.

    Args:
        client: from open_tracker.
        run: an mlflow Run.
        path: inside the run's artifacts, "tables/test.json".
    """
    address = str(run.info.artifact_uri)
    uri = urlparse(address)
    kept = kept_here(str(client.tracking_uri), address)
    if kept is not None or uri.scheme in ("", "file"):
        file = (kept or Path(unquote(uri.path))) / path
        return file.read_text(encoding="utf-8") if file.is_file() else None
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = download_artifacts(
                run_id=run.info.run_id,
                artifact_path=path,
                dst_path=folder,
                tracking_uri=client.tracking_uri,
            )
        except (MlflowException, OSError):
            return None
        return Path(found).read_text(encoding="utf-8")


def _open_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_TIMEOUT_S)


def _check_file(path: Path) -> None:
    """MLflow would make a new database in the place of a missing or an empty one."""
    if not path.is_file():
        raise UserError("no such database", where=str(path), remedy=_OTHER_PLACE)
    try:
        with contextlib.closing(_open_read_only(path)) as connection:
            tables = connection.execute(
                "select count(*) from sqlite_master where name in ('runs', 'experiments', 'metrics')"
            ).fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise UserError(f"is not a database of MLflow: {error}", where=str(path)) from error
    if tables < 3:
        raise UserError("is not a database of MLflow", where=str(path), remedy=_OTHER_PLACE)
