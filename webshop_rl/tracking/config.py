"""Configuration of tracking: the Hydra schema, and the settings a run is opened with.

Imports neither torch nor mlflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webshop_rl.errors import UserError
from webshop_rl.storage.folders import Root


@dataclass(frozen=True)
class TrackingSettings:
    """What a run needs to be tracked; plain and picklable, so that it can travel to a worker.

    Attributes:
        kind: "mlflow": journal and MLflow; "journal": journal alone, to be replayed later.
        uri: absolute sqlite URI or http(s) URL of the tracker.
        experiment: name of the MLflow experiment.
        root: absolute folder that holds runs/, and mlflow.db and mlartifacts/ of the default tracker.
        sync_every_s: seconds between two replays of the journal to MLflow during a run.
        timeout_s: longest wait for one answer of the tracker.
        final_sync_s: longest wait, at the end of a run, for the tracker to take the rest.
        traces: final-evaluation episodes recorded as MLflow traces.
    """

    kind: str
    uri: str
    experiment: str
    root: Path
    sync_every_s: float = 5.0
    timeout_s: float = 10.0
    final_sync_s: float = 30.0
    traces: int = 0

    @property
    def mirrored(self) -> bool:
        """Whether the run itself replays its journal to MLflow."""
        return self.kind == "mlflow"

    @property
    def recorded_uri(self) -> str:
        """The tracker as records name it: "" for the root's own, so that it stays so where the root moves."""
        return "" if self.uri == default_uri(self.root) else self.uri


def resolve(config: Any, *, root: str | Path, experiment: str) -> TrackingSettings:
    """Settings from a composed `tracking` group (attributes as in TrackingConfig).

    Args:
        config: the group; uri null means sqlite under root.
        root: folder of the runs; made absolute, as must be done in the launching process.
        experiment: name of the MLflow experiment.
    Raises: UserError if the URI is of a kind that MLflow cannot track to.
    """
    folder = Path(root).expanduser().resolve()
    return TrackingSettings(
        kind=str(config.kind),
        uri=tracker_uri(config.uri, folder),
        experiment=experiment,
        root=folder,
        sync_every_s=float(config.sync_every_s),
        timeout_s=float(config.timeout_s),
        final_sync_s=float(config.final_sync_s),
        traces=int(config.traces),
    )


def default_uri(root: Path) -> str:
    """The tracker under a root: sqlite with an absolute path, the same from every working directory."""
    return f"sqlite:///{Root(root.resolve()).database}"


def tracker_uri(uri: str | None, root: Path) -> str:
    """uri made absolute; null is the default tracker of the root.

    Raises: UserError on anything but sqlite, http(s) and the database servers MLflow knows.
    """
    if uri is None or uri == "":
        return default_uri(root)
    path = sqlite_path(uri)
    if path is not None:
        return f"sqlite:///{path.expanduser().resolve()}"
    if uri.startswith(("http://", "https://")):
        return uri.rstrip("/")
    if uri.startswith(("postgresql", "mysql", "mssql")) and "://" in uri:
        return uri
    raise UserError(
        f"MLflow cannot track to {uri!r}",
        where="tracking.uri",
        remedy="give http://HOST:PORT, sqlite:///FILE, or null for sqlite under the root",
    )


def sqlite_path(uri: str) -> Path | None:
    """The file of a sqlite URI, or None for other trackers."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or ":memory:" in uri or uri == prefix:
        return None
    return Path(uri.removeprefix(prefix))
