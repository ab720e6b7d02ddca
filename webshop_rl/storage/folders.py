"""What lies where under `root`; no other module spells a file's name.

<root>/runs/<run>/           a run: config, status, journal, log, result, checkpoints, episodes
<root>/sweeps/<name>/        a sweep: its manifest, what submitit writes for its jobs
<root>/code/<digest>/        the code that queued runs use
<root>/vstar/<key>/          reference returns, shared by all runs
<root>/evaluations/<key>/    an evaluation alone; a run folder without training
<root>/mlflow.db  mlartifacts/   the default tracker
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from webshop_rl.errors import UserError
from webshop_rl.storage.lock import FolderLock

SHORTEST_PREFIX = 2  # letters of a run's name that may stand for it


class _Folder(Protocol):
    @property
    def path(self) -> Path: ...


class _Place:
    """A place of fixed name in a folder, as an attribute."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: _Folder, kind: type) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class Root:
    """The folder of `root=`, absolute."""

    path: Path

    runs = _Place("runs")  # folders of runs
    sweeps = _Place("sweeps")  # folders of sweeps
    vstar = _Place("vstar")  # the store of reference returns
    evaluations = _Place("evaluations")  # folders of evaluations alone
    reports = _Place("reports")  # reports of analysis
    digests = _Place("digests.json")  # digests of data files, remembered
    uid = _Place("root.uid")  # what tells this root from others on one tracker
    database = _Place("mlflow.db")  # the default tracker's sqlite file
    artifacts = _Place("mlartifacts")  # the default tracker's files

    def code(self, digest: str) -> Path:
        """A copy of the code."""
        return self.path / "code" / digest

    def run(self, name: str) -> RunFolder:
        """The folder of a run, whether or not it exists."""
        return RunFolder(self.runs / name)

    def all_runs(self) -> list[RunFolder]:
        """The folders of runs that were prepared whole, by name."""
        return [RunFolder(path.parent) for path in sorted(self.runs.glob("*/signature.json"))]

    def find_run(self, word: str) -> RunFolder | None:
        """The run of that name, or the only one whose name begins so.

        Raises: UserError if several begin so.
        """
        names = [run.name for run in self.all_runs()]
        begun = [name for name in names if len(word) >= SHORTEST_PREFIX and name.startswith(word)]
        if word in names or len(begun) == 1:
            return self.run(word if word in names else begun[0])
        if begun:
            some = ", ".join(begun[:5]) + (f", and {len(begun) - 5} more" if len(begun) > 5 else "")
            raise UserError(f"several runs begin so: {some}", where=word, remedy="give more letters")
        return None

    def sweep(self, name: str) -> SweepFolder:
        """The folder of a sweep, whether or not it exists."""
        return SweepFolder(self.sweeps / name)

    def all_sweeps(self) -> list[SweepFolder]:
        """The folders of sweeps, by name."""
        return [SweepFolder(path.parent) for path in sorted(self.sweeps.glob("*/manifest.json"))]

    @property
    def plan_lock(self) -> FolderLock:
        """Locked while it is decided who executes what."""
        return FolderLock(self.path, "plan")

    def launcher_lock(self, name: str) -> FolderLock:
        """Locked by the launcher of that name as long as it lives."""
        return FolderLock(self.path / "launchers", name)


@dataclass(frozen=True)
class SweepFolder:
    """One sweep's folder."""

    path: Path

    manifest = _Place("manifest.json")  # the runs it lists
    stage1_log = _Place("vstar.log")  # what the task printed that samples reference returns first
    recorded = _Place("recorded.json")  # how the sweep ended, as last written to MLflow

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.path.name

    @property
    def root(self) -> Root:
        """The root that it lies under."""
        return Root(self.path.absolute().parents[1])

    def jobs(self, launcher: str) -> Path:
        """What submitit writes for the jobs of one launcher."""
        return self.path / "jobs" / launcher

    def all_jobs(self) -> list[Path]:
        """The folders of jobs of all launchers."""
        return sorted((self.path / "jobs").glob("*"))


@dataclass(frozen=True)
class RunFolder:
    """One run's folder (or an evaluation's, which has the same files without checkpoints)."""

    path: Path

    config = _Place("config.yaml")  # the resolved configuration, frozen
    signature = _Place("signature.json")  # signature, its fields, code digest, overrides, sweep
    status = _Place("status.json")  # where the run stands
    job = _Place("job.json")  # the Slurm job that it was last submitted as
    log = _Place("log.txt")  # all that it printed
    result = _Place("result.json")  # what a finished run measured
    error = _Place("error.txt")  # the traceback of a run that failed
    rank_error = _Place("peer_error.txt")  # what another rank of the run failed with
    vstar = _Place("vstar.json")  # which code its reference returns were sampled with
    journal = _Place("journal.jsonl")  # the append-only record of metrics, params, tags and artifacts
    torn_journal = _Place("journal.torn")  # last lines of the journal that a kill has torn
    mirror = _Place("mlflow.json")  # how much of the journal MLflow has
    continues = _Place("continues.json")  # which shorter run it goes on from, and at which update
    initial = _Place("initial.json")  # what the weights of init_from were
    threads = _Place("threads")  # the number of CPU threads that the run began with
    updates_log = _Place("updates.log")  # a line an update executed, those after a resume too
    checkpoints = _Place("checkpoints")  # folders of checkpoints
    tables = _Place("tables")  # tables for MLflow
    traces = _Place("traces")  # trajectories for MLflow's traces

    @property
    def name(self) -> str:
        """The run's name: its signature, or `<signature>-r2` of the second rerun."""
        return self.path.name

    @property
    def root(self) -> Root:
        """The root that it lies under."""
        return Root(self.path.absolute().parents[1])

    @classmethod
    def of_checkpoint(cls, path: Path) -> RunFolder:
        """The run of a checkpoint's folder, `<run>/checkpoints/update_N`."""
        return cls(path.parents[1])

    def episodes(self, policy: str) -> Path:
        """Recorded episodes of an evaluated policy: `test`, `untrained`, `baseline/rule`, ..."""
        return self.path / "episodes" / f"{policy.replace('/', '_')}.jsonl"

    def table(self, name: str) -> Path:
        """A table for MLflow."""
        return self.tables / f"{name}.json"

    def trace_file(self, name: str) -> Path:
        """Trajectories for MLflow's traces."""
        return self.traces / f"{name}.json"

    @property
    def worker_lock(self) -> FolderLock:
        """Locked by the process that executes the run; taken before torch is loaded."""
        return FolderLock(self.path, "worker")

    @property
    def record_lock(self) -> FolderLock:
        """Locked by the process that appends to the journal."""
        return FolderLock(self.path, "run")

    @property
    def mirror_lock(self) -> FolderLock:
        """Locked by the process that replays the journal to MLflow."""
        return FolderLock(self.path, "mlflow")
