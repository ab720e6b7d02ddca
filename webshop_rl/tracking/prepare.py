"""Make a tracker ready before anything is queued: reachable, with its experiment and a sweep's parent."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from webshop_rl.errors import UserError
from webshop_rl.storage.files import create_file, read_json, read_original, write_original
from webshop_rl.storage.folders import Root
from webshop_rl.tracking.client import DESCRIPTION_TAG, connect
from webshop_rl.tracking.config import Destination, sqlite_path
from webshop_rl.tracking.database import (
    being_set_up,
    find_or_create_experiment,
    ready_experiment,
    using,
)
from webshop_rl.tracking.files import store_file
from webshop_rl.tracking.reach import check_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT_TAG = "webshop_rl.sweep_uid"


def check_tracker(destination: Destination, *, dry_run: bool = False) -> None:
    """For the launching process: find out in milliseconds whether the tracker can be used.

    A sqlite file is from now on written by this machine alone: network file systems do not lock it.
    If it is not there yet, the first run makes it. Does not import mlflow; with
    tracking=journal nothing is checked, for no tracker is needed.

    Args:
        dry_run: whether to leave no trace: neither the folder of a sqlite file nor the note of this machine.
    Raises: UserError if a server does not answer, or a folder cannot be written.
    """
    path = sqlite_path(destination.uri)
    if not destination.mirrored:
        return
    if path is not None:
        if path.parent != destination.root and not path.parent.is_dir():
            raise UserError("no such folder", where=f"tracking.uri: {path.parent}", remedy="make it first")
        try:
            if not dry_run:
                path.parent.mkdir(parents=True, exist_ok=True)
            there = next(place for place in (path, *path.parents) if place.exists())
            if not os.access(there, os.W_OK):
                raise PermissionError("it is read-only")
            if not there.is_dir() and there != path:
                raise NotADirectoryError(f"{there} is a file")
            if not dry_run and writing_host(destination.uri) != socket.gethostname():
                write_original(_host_path(path), socket.gethostname())
        except OSError as error:
            raise UserError(
                f"cannot be written ({error.strerror or error})",
                where=str(path),
                remedy="set tracking.uri or root, or launch with tracking=journal",
            ) from error
    elif destination.uri.startswith("http"):
        check_server(destination.uri, timeout_s=destination.config.timeout_s)


def ensure_ready(destination: Destination) -> str:
    """Id of the experiment; database and experiment are created if need be. Free if a sqlite file is ready.

    Raises: UserError if the tracker cannot be reached or used.
    """
    path = sqlite_path(destination.uri)
    if path is not None:
        return ready_experiment(path, destination)
    with using(destination.uri):
        client = connect(destination.uri, timeout_s=destination.config.timeout_s)
        return find_or_create_experiment(client, destination.experiment, location=None)


def may_write_here(uri: str) -> bool:
    """False for a sqlite file that was launched from another machine."""
    return writing_host(uri) in (None, socket.gethostname())


def writing_host(uri: str) -> str | None:
    """The one machine that may write a sqlite file; None if any may (a copy), or it is not a file."""
    path = sqlite_path(uri)
    return None if path is None else read_original(_host_path(path))


def parent_run(destination: Destination, sweep: str, tags: dict[str, str] | None = None) -> str:
    """Id of the sweep's parent run; found if it is there, else created. Needs the tracker."""
    experiment_id = ensure_ready(destination)
    uid = sweep_uid(destination.root, sweep)
    with being_set_up(destination.root, "mlflow.parent"), using(destination.uri):
        client = connect(destination.uri, timeout_s=destination.config.timeout_s)
        found = find_run(client, experiment_id, PARENT_TAG, uid)
        if found is None:
            marks = {PARENT_TAG: uid, "sweep": sweep, **(tags or {})}
            # A sweep began when it was launched, not when the first of its runs reached the tracker.
            launched = (read_json(Root(destination.root).sweep(sweep).manifest) or {}).get("created")
            found = client.create_run(
                experiment_id,
                tags=marks,
                run_name=sweep,
                start_time=None if launched is None else int(1000 * launched),
            ).info.run_id
            store_manifest(client, destination, sweep, found)
        elif tags:
            present = client.get_run(found).data.tags
            for key, value in tags.items():
                # What a report put at the head of the description stays as long as the runs are the same.
                if not (key == DESCRIPTION_TAG and present.get(key, "").endswith(value)):
                    client.set_tag(found, key, value)
        return found


def finish_parent_run(
    destination: Destination, sweep: str, run_id: str, status: str, *, ended_ms: int | None = None
) -> None:
    """Set the parent's final status, FINISHED, FAILED or KILLED, and store what the sweep lists.

    Args:
        ended_ms: when its last run ended, milliseconds since 1970; None for now.
    """
    with using(destination.uri):
        client = connect(destination.uri, timeout_s=destination.config.timeout_s)
        store_manifest(client, destination, sweep, run_id)
        if ended_ms is not None:
            # All its runs may be older: adopted from other sweeps.
            ended_ms = max(ended_ms, client.get_run(run_id).info.start_time)
        client.set_terminated(run_id, status, end_time=ended_ms)


def store_manifest(client: MlflowClient, destination: Destination, sweep: str, run_id: str) -> None:
    """Store what the sweep lists as a file of its parent run, for readers on other machines."""
    path = Root(destination.root).sweep(sweep).manifest
    if path.is_file():
        store_file(client, run_id, path)


def find_run(client: MlflowClient, experiment_id: str, tag: str, value: str) -> str | None:
    """Id of the oldest run that carries the tag, or None."""
    found = client.search_runs(
        [experiment_id], f"tags.`{tag}` = '{value}'", max_results=1, order_by=["attributes.start_time ASC"]
    )
    return str(found[0].info.run_id) if found else None


def sweep_uid(root: Path, sweep: str) -> str:
    """Distinguishes the sweep from one of the same name in another root on the same server."""
    path = Root(root).uid
    if not path.exists():
        create_file(path, uuid.uuid4().hex)
    return f"{path.read_text().strip()}/{sweep}"


def _host_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.host")
