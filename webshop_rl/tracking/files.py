"""Files of runs in MLflow: stored through its client, or where a server of the same root would put them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlparse

from webshop_rl.storage.folders import Root

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE: Final = "sqlite:///"
_SERVED: Final = "mlflow-artifacts"


def store_file(client: MlflowClient, run_id: str, file: Path, folder: str = "") -> bool:
    """Store a file with a run; False where its place cannot be reached from here.

    Args:
        folder: among the run's files, "" for the top.
    """
    address = client.get_run(run_id).info.artifact_uri
    kept = kept_here(str(client.tracking_uri), address)
    if kept is not None:
        place = kept / folder / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        return True
    if not stores_here(address):
        return False
    client.log_artifact(run_id, str(file), folder or None)
    return True


def kept_here(tracker: str, address: str) -> Path | None:
    """The folder that an address of a server's own means, where the server's database is read without it.

    A run that was recorded at `webshop-rl ui` (tracking/serve.py) has such an address; the server keeps its
    files in mlartifacts/ beside the database, and MLflow's client refuses the address without a server.
    """
    parsed = urlparse(address)
    if parsed.scheme != _SERVED or not tracker.startswith(_SQLITE):
        return None
    return Root(Path(tracker.removeprefix(_SQLITE)).parent).artifacts / unquote(parsed.path).lstrip("/")


def stores_here(address: str) -> bool:
    """Whether files can be stored at an address from here; not in a folder that is not on this machine."""
    parsed = urlparse(address)
    if parsed.scheme not in ("", "file"):
        return True
    # <mlartifacts>/<experiment>/<run>/artifacts: the first file makes all but the root folder.
    return Path(unquote(parsed.path)).parents[3].exists()
