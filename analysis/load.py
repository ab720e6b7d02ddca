"""The runs of a sweep as MLflow recorded them, with their last values, curves and evaluation tables."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from webshop_rl.errors import UserError
from webshop_rl.storage.folders import Root

from .plan import Missing, missing, read_plan, recorded_command
from .tracker import metric_reader, read_artifact, reading

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SWEEP_UID = "webshop_rl.sweep_uid"
_PARENT = "mlflow.parentRunId"
_COUNTED = {"FINISHED": "runs.finished", "FAILED": "runs.failed", "KILLED": "runs.interrupted"}
GOAL_COLUMNS = ("goal", "asin", "episodes", "success", "score")


class NoSweep(UserError):
    """The tracker contains no sweep at all; it may contain single runs."""


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
        run_id: MLflow's.
        status: FINISHED, FAILED, KILLED (stopped) or RUNNING.
        params: flattened configuration, text as MLflow keeps it.
        metrics: last value by name.
        adopted: whether another sweep, or a single launch, trained it.
        started: milliseconds since 1970.
        record: the mlflow Run it was read from.
        sweep: by which its arm is kept apart where a report is about several sweeps, else "".
        to_come: runs of its arm that its sweep lists and that have not started.
    """

    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    adopted: bool
    started: int
    record: Any
    sweep: str = ""
    to_come: int = 0

    @property
    def seed(self) -> str:
        """Of training, as text."""
        return self.params.get("seed", self.tags.get("seed", "?"))

    @property
    def signature(self) -> str:
        """Identity of its configuration."""
        return self.tags.get("signature", self.run_id)

    @property
    def folder_name(self) -> str:
        """Name of its folder: the signature, or `<signature>-r1` for a rerun."""
        return self.tags.get("folder", self.signature).rstrip("/").rpartition("/")[2]

    @property
    def going(self) -> bool:
        """Whether it is at work."""
        return self.status == "RUNNING"

    @cached_property
    def finished(self) -> bool:
        """Whether it ended well and was tested: only then do its numbers enter a comparison."""
        tested = all(math.isfinite(self.metrics.get(f"test/{m}", math.nan)) for m in ("success", "score"))
        return self.status == "FINISHED" and tested


@dataclass(frozen=True)
class Sweep:
    """A sweep's runs.

    Attributes:
        runs: one a signature, the newest, in order of their start.
        replaced: older runs of the same signatures (rerun=true), which are left out.
        unrecorded: by status, runs that the launcher counted and MLflow does not have.
        to_come: number of runs that the sweep lists and that have not started.
        arms_to_come: the same of arms of which no run is recorded, by their overrides.
        parent_id: MLflow's id of the parent run.
        commands: by which it was launched, by name of the sweep; several where a report has several.
    """

    name: str
    uri: str
    status: str
    runs: Sequence[Run]
    replaced: Sequence[Run]
    unrecorded: Mapping[str, int]
    to_come: int = 0
    arms_to_come: Mapping[str, int] = field(default_factory=dict)
    parent_id: str = ""
    commands: Mapping[str, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether no run is at work, waiting to resume, or still to start."""
        return not self.to_come and not any(run.going for run in self.runs)


def load_sweep(client: MlflowClient, uri: str, name: str | None, *, root: Path | None = None) -> Sweep:
    """Every run of a sweep, whatever its state.

    Args:
        client: from tracker.open_tracker.
        uri: its address.
        name: of the sweep, or the id of its parent run in MLflow.
        root: folder of the runs, whose sweeps/ lists what was planned; else the tracker is asked.
    Raises: UserError if there is no such sweep, or several of this name.
    """
    with reading(uri):
        experiments = [e.experiment_id for e in client.search_experiments()]
        parents = _search(client, experiments, f"tags.`{_SWEEP_UID}` LIKE '%/%'")
        parent = _choose(parents, uri, name)
        sweep = parent.data.tags["sweep"]
        own = _search(client, experiments, f"tags.`{_PARENT}` = '{parent.info.run_id}'")
        shared = _search(client, experiments, f"tags.`sweep.{sweep}` = 'shared'")
        plan = read_plan(client, parent, sweep, root)
        same_name = [p for p in parents if p.data.tags.get("sweep") == sweep]
    if len(same_name) > 1 and own:
        # The mark of adoption has the sweep's name alone; the root distinguishes two of one name.
        roots = {_root(run) for run in own}
        shared = [run for run in shared if _root(run) in roots]
    runs = {r.info.run_id: _run(r, adopted=True) for r in shared}
    runs |= {r.info.run_id: _run(r, adopted=False) for r in own}
    chosen, replaced = _newest(runs.values())
    if plan is None:
        unrecorded, absent = _unrecorded(parent.data.tags, chosen), Missing()
    else:
        absent = missing(plan.runs, [run.signature for run in chosen])
        chosen = [replace(run, to_come=absent.beside.get(run.signature, 0)) for run in chosen]
        unrecorded = {"FAILED": absent.failed} if absent.failed else {}
    command = (plan.command if plan else "") or recorded_command(parent.data.tags.get("command", ""))
    return Sweep(
        sweep,
        uri,
        parent.info.status,
        chosen,
        replaced,
        unrecorded,
        absent.to_come,
        absent.arms_to_come,
        parent.info.run_id,
        {sweep: command} if command else {},
    )


def load_run(client: MlflowClient, uri: str, name: str) -> Sweep:
    """One run alone, of a sweep or of none, as a sweep of one.

    Args:
        client: from tracker.open_tracker.
        uri: its address.
        name: of the run's folder: the signature, or `<signature>-r1`; the first letters do.
    Raises: UserError if there is no such run, or several.
    """
    found: list[Run] = []
    if re.fullmatch(r"[\w.-]+", name):
        signature = re.sub(r"-r\d+$", "", name)
        with reading(uri):
            experiments = [e.experiment_id for e in client.search_experiments()]
            found = _trained(_search(client, experiments, f"tags.signature LIKE '{signature}%'"))
        exact = [run for run in found if run.folder_name == name]
        found = exact or [run for run in found if run.folder_name.startswith(name)]
    if len(found) != 1:
        what = f"{len(found)} runs are called" if found else "no run"
        raise UserError(f"{what} {name!r}", where=uri, remedy="--run with the name of its folder")
    return Sweep(f"run-{found[0].folder_name}", uri, found[0].status, found, [], {})


def load_trained(client: MlflowClient, uri: str) -> Sweep:
    """Every training run of a tracker, of whatever sweep, as if it were one sweep.

    Args:
        client: from tracker.open_tracker.
        uri: its address.
    Raises: UserError if there is none.
    """
    with reading(uri):
        experiments = [e.experiment_id for e in client.search_experiments()]
        runs = _trained(_search(client, experiments, "tags.signature LIKE '%'"))
    if not runs:
        raise UserError("contains no run", where=uri, remedy="webshop-rl train makes one")
    chosen, replaced = _newest(runs)
    return Sweep("runs", uri, "FINISHED", chosen, replaced, {})


def load_evaluations(client: MlflowClient, uri: str) -> list[Run]:
    """Evaluations alone (webshop-rl evaluate) of trained policies on test goals, the newest last."""
    with reading(uri):
        experiments = [e.experiment_id for e in client.search_experiments()]
        found = _search(client, experiments, "tags.kind = 'evaluation' and tags.split = 'test'")
    return sorted((_run(record, adopted=False) for record in found), key=lambda run: run.started)


def load_curves(client: MlflowClient, uri: str, runs: Sequence[Run], names: Sequence[str]) -> pd.DataFrame:
    """Whole metric histories.

    Args:
        runs: those to read, finished or not.
        names: of metrics.
    Returns: columns run_id and metric (categories: a name is not repeated a million times), step, value; of
        a step recorded twice the later value. In order of run, metric and step.
    """
    wanted = [(run.run_id, name) for run in runs for name in dict.fromkeys(names) if name in run.metrics]
    if not wanted:
        return pd.DataFrame(columns=["run_id", "metric", "step", "value"])
    with reading(uri), metric_reader(client, uri) as read:
        points = [read(run_id, name) for run_id, name in wanted]
    sizes = [len(steps) for steps, _ in points]
    which = [pd.factorize(np.array(own, dtype=object)) for own in zip(*wanted, strict=True)]
    run_ids, metrics = (pd.Categorical.from_codes(np.repeat(codes, sizes), own) for codes, own in which)
    steps, values = (np.concatenate(columns) for columns in zip(*points, strict=True))
    return pd.DataFrame({"run_id": run_ids, "metric": metrics, "step": steps, "value": values})


def load_goals(
    client: MlflowClient, run: Run, evaluation: str, *, root: Path | None = None
) -> dict[str, NDArray[Any]] | None:
    """The table of one evaluation, one row a goal: its columns, at least GOAL_COLUMNS.

    Args:
        run: whose.
        evaluation: "test", "untrained", "baseline/rule", ...
        root: folder whose runs/ may hold the run, and then holds the table; else the tracker is asked.
    Returns: sorted by goal; None if neither has it whole.
    """
    path = f"tables/{evaluation.replace('/', '_')}.json"
    own = None if root is None else Root(root).run(run.folder_name).path / path
    if own is not None and own.is_file():
        text: str | None = own.read_text(encoding="utf-8")
    else:
        text = read_artifact(client, run.record, path)
    if text is None:
        return None
    try:
        content = json.loads(text)
        columns = dict(zip(content["columns"], zip(*content["data"], strict=True), strict=True))
        goals = np.array([str(goal) for goal in columns["goal"]], dtype=object)
        order = np.argsort(goals, kind="stable")
        typed = {name: np.array(values, dtype=object)[order] for name, values in columns.items()}
        typed |= {name: typed[name].astype(float) for name in ("episodes", "success", "score")}
        asins = np.array([str(asin) for asin in typed["asin"]], dtype=object)
        return typed | {"goal": goals[order], "asin": asins}
    except (ValueError, KeyError, TypeError):
        return None


def _search(client: MlflowClient, experiments: list[str], condition: str) -> list[Any]:
    found: list[Any] = []
    token = None
    while experiments:
        page = client.search_runs(experiments, condition, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            break
    return found


def _trained(records: Iterable[Any]) -> list[Run]:
    """Training runs: evaluations have a signature, too; their folders lie elsewhere."""
    runs = [_run(record, adopted=False) for record in records]
    return [r for r in runs if r.tags.get("folder", "").rstrip("/").endswith(f"/runs/{r.folder_name}")]


def _newest(runs: Iterable[Run]) -> tuple[list[Run], list[Run]]:
    """(of each signature the newest, the others), in order of their start."""
    ordered = sorted(runs, key=lambda run: (run.started, run.run_id))
    newest = {run.signature: run for run in ordered}
    chosen = [run for run in ordered if newest[run.signature] is run]
    return chosen, [run for run in ordered if newest[run.signature] is not run]


def _choose(parents: Iterable[Any], uri: str, name: str | None) -> Any:
    newest_first = sorted(parents, key=lambda p: -p.info.start_time)
    names = list(dict.fromkeys(p.data.tags.get("sweep", "") for p in newest_first))
    if not names:
        what = "contains no sweep" if name is None else f"contains no sweep, so none is called {name!r}"
        raise NoSweep(
            what, where=uri, remedy="webshop-rl sweep ... makes one; report --run RUN is of one run"
        )
    some = ", ".join(names[:5]) + (f", and {len(names) - 5} more" if len(names) > 5 else "")
    if name is None:
        return newest_first[0]
    found = [p for p in newest_first if name in (p.data.tags.get("sweep"), p.info.run_id)]
    if not found:
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"newest first: {some}"
        raise UserError(f"no sweep {name!r}", where=uri, remedy=hint)
    if len(found) > 1:
        ids = ", ".join(p.info.run_id for p in found)
        raise UserError(
            f"{len(found)} sweeps are called {name!r}", where=uri, remedy=f"--sweep with one of the ids {ids}"
        )
    return found[0]


def _run(record: Any, *, adopted: bool) -> Run:
    return Run(
        run_id=record.info.run_id,
        name=record.info.run_name or record.info.run_id,
        status=record.info.status,
        params=dict(record.data.params),
        tags=dict(record.data.tags),
        metrics=dict(record.data.metrics),
        adopted=adopted,
        started=record.info.start_time or 0,
        record=record,
    )


def _root(record: Any) -> str:
    """Folder that holds runs/<run>, from the run's tag."""
    return str(record.data.tags.get("folder", "")).rpartition("/runs/")[0]


def _unrecorded(parent_tags: Mapping[str, str], runs: Sequence[Run]) -> dict[str, int]:
    """A run that fails before its tracker opens is known to the launcher alone, which counts it."""
    missing = {}
    for status, tag in _COUNTED.items():
        counted = parent_tags.get(tag, "0")
        surplus = (int(counted) if counted.isdigit() else 0) - sum(r.status == status for r in runs)
        if surplus > 0:
            missing[status] = surplus
    return missing
