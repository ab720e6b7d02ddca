"""MLflow's client with waits that are bounded; the only module that imports mlflow at start-up.

Importing it is free: mlflow itself (some 2 s) is imported by the first `connect`.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from webshop_rl.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow shows it at the head of a run's page, as Markdown.
DESCRIPTION_TAG = "mlflow.note.content"
MAX_DESCRIPTION_CHARS = 7500  # a tag of MLflow has 8,000

# By default MLflow retries a server that is down for four minutes and a hung one for longer.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_QUIET = ("mlflow", "alembic", "urllib3.connectionpool", "sqlalchemy")


def connect(uri: str, *, timeout_s: float, retries: int = 0) -> MlflowClient:
    """A client of the tracker; what the user has set in the environment stays.

    Args:
        uri: absolute sqlite URI, URL of a server, or a database MLflow knows.
        timeout_s: longest wait for one HTTP answer.
        retries: of a request that got none.
    """
    prepare_environment(timeout_s, retries)
    from mlflow import MlflowClient

    for name in _QUIET:
        # What goes wrong is raised too, and reported once instead of as a page each time.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def preload() -> None:
    """Import all that `connect` will, as this process has nothing else to do; it starts no thread."""
    for name, value in _DEFAULTS.items():  # MLflow reads some of them as it is imported
        os.environ.setdefault(name, value)
    importlib.import_module("mlflow")
    importlib.import_module("mlflow.store.tracking.sqlalchemy_store")


def prepare_environment(timeout_s: float, retries: int) -> None:
    """Set MLflow's timeouts, unless the user has."""
    settings = {
        **_DEFAULTS,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(timeout_s)),
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def tracker_errors(uri: str, what: str, remedy: str) -> Iterator[None]:
    """Turn whatever mlflow raises into one line: what, and its reason."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if "out-of-date database schema" in str(error):
            upgrade = f"mlflow db upgrade {uri}"
            raise UserError("was made by another version of MLflow", where=uri, remedy=upgrade) from error
        raise UserError(f"{what}: {reason(error)}", where=uri, remedy=remedy) from error


def reason(error: BaseException) -> str:
    """The first line of an error of the tracker, short enough for one line."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
