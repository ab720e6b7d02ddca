"""The addresses of files in an MLflow database that was moved, renamed or copied with its folder.

MLflow keeps absolute file:// addresses. An experiment made by this platform has its files in
mlartifacts/ beside the database; where the database is found elsewhere, every address below that
folder follows it, in one transaction. The original of a copy is neither read nor written.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from webshop_rl.storage.folders import Root

# Where MLflow keeps addresses; tables that its version does not have are passed over.
_COLUMNS = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
    ("datasets", "dataset_source"),
    # Last, for these say whether there is anything to do.
    ("experiments", "artifact_location"),
)
_BUSY_S = 30.0


def artifact_location(database: Path, experiment: str) -> str:
    """Address of an experiment's files: mlartifacts/<experiment> beside the database."""
    return (Root(database.parent).artifacts / experiment).as_uri()


def has_moved(database: Path) -> bool:
    """Whether the database lies elsewhere than its addresses say; a file that is not a database has not."""
    try:
        with contextlib.closing(_open(database, "ro")) as connection:
            return bool(_former_homes(connection, database))
    except sqlite3.DatabaseError:
        return False


def relocate(database: Path) -> int:
    """Make the addresses follow the database; the number of those that were changed.

    Args:
        database: absolute path of a sqlite file of MLflow.
    Raises: sqlite3.Error if it cannot be written.
    """
    changed = 0
    with contextlib.closing(_open(database, "rw")) as connection, connection:
        connection.execute("begin immediate")
        tables = {name for (name,) in connection.execute("select name from sqlite_master")}
        here = f"{Root(database.parent).artifacts.as_uri()}/"
        for former in _former_homes(connection, database):
            for table, column in _COLUMNS:
                if table in tables:
                    done = connection.execute(
                        f"update {table} set {column} = ? || substr({column}, ?)"
                        f" where substr({column}, 1, ?) = ?",
                        (here, len(former) + 1, len(former), former),
                    )
                    changed += done.rowcount
    return changed


def _former_homes(connection: sqlite3.Connection, database: Path) -> set[str]:
    """Addresses, with a slash at the end, of the mlartifacts/ that experiments name and that is not here."""
    here = f"{Root(database.parent).artifacts.as_uri()}/"
    found = set()
    for name, location in connection.execute("select name, artifact_location from experiments"):
        own = f"/{Root(database.parent).artifacts.name}/{quote(name)}"
        if location and location.startswith("file://") and location.endswith(own):
            found.add(location.removesuffix(quote(name)))
    return found - {here}


def _open(database: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(database))}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)
