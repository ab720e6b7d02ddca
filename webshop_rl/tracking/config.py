"""Where a run is recorded: the tracker that its configuration names, made absolute. Imports no mlflow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from webshop_rl.config.groups import TrackingConfig
from webshop_rl.config.schema import RunConfig
from webshop_rl.errors import UserError
from webshop_rl.storage.folders import Root


@dataclass(frozen=True)
class Destination:
    """Where a run is recorded; picklable, so that it can travel to a worker.

    Attributes:
        config: `tracking` of the run's configuration.
        root: absolute folder that contains runs/, and mlflow.db and mlartifacts/ of the default tracker.
        experiment: name of the MLflow experiment.
    """

    config: TrackingConfig
    root: Path
    experiment: str

    @staticmethod
    def of(config: RunConfig) -> Destination:
        """Of a configuration; made absolute, as must be done in the launching process."""
        root = Path(config.root).expanduser().resolve()
        return Destination(config.tracking, root, config.experiment_name)

    @cached_property
    def uri(self) -> str:
        """Absolute sqlite URI or http(s) URL of the tracker. Raises: UserError, see tracker_uri."""
        return tracker_uri(self.config.uri, self.root)

    @property
    def mirrored(self) -> bool:
        """Whether the run itself replays its journal to MLflow."""
        return self.config.kind == "mlflow"

    @property
    def recorded_uri(self) -> str:
        """The tracker as records name it: "" for the root's own, so that it stays so where the root moves."""
        return "" if self.uri == default_uri(self.root) else self.uri


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
