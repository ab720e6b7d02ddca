"""Brings a sweep's tracker up to date from any shell: what its runs and its launcher left undone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf

from webshop_rl.launching.runs.ended import close_journal
from webshop_rl.launching.runs.observe import settle
from webshop_rl.launching.runs.state import GOING
from webshop_rl.launching.sweeps.manifest import Manifest
from webshop_rl.launching.sweeps.record import is_recorded, record_sweep
from webshop_rl.launching.sweeps.table import RunView
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.client import reason
from webshop_rl.tracking.config import TrackingSettings, resolve
from webshop_rl.tracking.mirror import Mirror
from webshop_rl.tracking.prepare import may_write_here

log = logging.getLogger(__name__)


def replay_sweep(root: Path, manifest: Manifest, views: Sequence[RunView]) -> None:
    """Replay journals that the tracker has not taken whole, and settle runs that ended without a word.

    The runs are those of a sweep, or single ones.

    Costs nothing where nothing is left: mlflow is imported only if there is.
    """
    folders = [manifest.folder(root, listed) for listed in manifest.runs]
    for folder, view in zip(folders, views, strict=True):
        if settle(folder, view.status):
            close_journal(folder, view.status.state, view.status.error)
    settings = _settings(root, folders)
    if settings is None or not may_write_here(settings.uri):
        return
    ended = {
        folder: (view.status.state, view.status.error)
        for folder, view in zip(folders, views, strict=True)
        if view.status.state not in GOING
    }
    if not settings.mirrored:
        return
    whole = len(ended) == len(folders)
    behind = [mirror for folder in ended if (mirror := Mirror(folder, settings)).behind()]
    if not manifest.name:
        _replay(behind)
    elif behind or (whole and not is_recorded(settings, manifest.name, ended)):
        record_sweep(settings, manifest.name, ended, whole=whole)


def _replay(behind: Sequence[Mirror]) -> None:
    for mirror in behind:
        try:
            mirror.sync()
        except Exception as error:
            log.warning("MLflow has not taken all of run %s: %s", mirror.folder.name, reason(error))


def _settings(root: Path, folders: Sequence[Path]) -> TrackingSettings | None:
    for folder in folders:
        frozen = RunFolder(folder).config
        if frozen.exists():
            config = yaml.safe_load(frozen.read_text(encoding="utf-8"))
            tracking = OmegaConf.create(config["tracking"])
            return resolve(tracking, root=root, experiment=str(config["experiment_name"]))
    return None
