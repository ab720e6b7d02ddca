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


@dataclass(frozen=True)
class Root:
    """The folder of `root=`.

    Args:
        path: absolute.
    """

    path: Path

    @property
    def runs(self) -> Path:
        """Folders of runs."""
        return self.path / "runs"

    @property
    def sweeps(self) -> Path:
        """Folders of sweeps."""
        return self.path / "sweeps"

    @property
    def launchers(self) -> Path:
        """Locks of the launchers at work."""
        return self.path / "launchers"

    @property
    def vstar(self) -> Path:
        """The store of reference returns."""
        return self.path / "vstar"

    @property
    def evaluations(self) -> Path:
        """Folders of evaluations alone."""
        return self.path / "evaluations"

    @property
    def reports(self) -> Path:
        """Reports of analysis."""
        return self.path / "reports"

    @property
    def digests(self) -> Path:
        """Digests of data files, remembered."""
        return self.path / "digests.json"

    @property
    def uid(self) -> Path:
        """What tells this root from others on one tracker."""
        return self.path / "root.uid"

    @property
    def database(self) -> Path:
        """The default tracker's sqlite file."""
        return self.path / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """The default tracker's files."""
        return self.path / "mlartifacts"

    def code(self, digest: str) -> Path:
        """A copy of the code."""
        return self.path / "code" / digest

    def run(self, name: str) -> RunFolder:
        """The folder of a run, whether or not it exists."""
        return RunFolder(self.runs / name)

    def sweep(self, name: str) -> SweepFolder:
        """The folder of a sweep, whether or not it exists."""
        return SweepFolder(self.sweeps / name)


@dataclass(frozen=True)
class SweepFolder:
    """One sweep's folder."""

    path: Path

    @property
    def manifest(self) -> Path:
        """The runs it lists."""
        return self.path / "manifest.json"

    @property
    def recorded(self) -> Path:
        """How the sweep ended, as last written to MLflow."""
        return self.path / "recorded.json"

    def jobs(self, launcher: str) -> Path:
        """What submitit writes for the jobs of one launcher."""
        return self.path / "jobs" / launcher


@dataclass(frozen=True)
class RunFolder:
    """One run's folder (or an evaluation's, which has the same files without checkpoints)."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name: its signature, or `<signature>-r2` of the second rerun."""
        return self.path.name

    @property
    def root(self) -> Root:
        """The root that it lies under."""
        return Root(self.path.parents[1])

    @property
    def config(self) -> Path:
        """The resolved configuration, frozen."""
        return self.path / "config.yaml"

    @property
    def signature(self) -> Path:
        """Signature, its fields, code digest, overrides, sweep."""
        return self.path / "signature.json"

    @property
    def status(self) -> Path:
        """Where the run stands."""
        return self.path / "status.json"

    @property
    def job(self) -> Path:
        """The Slurm job that it was last submitted as."""
        return self.path / "job.json"

    @property
    def log(self) -> Path:
        """All that it printed."""
        return self.path / "log.txt"

    @property
    def result(self) -> Path:
        """What a finished run measured."""
        return self.path / "result.json"

    @property
    def error(self) -> Path:
        """The traceback of a run that failed."""
        return self.path / "error.txt"

    @property
    def rank_error(self) -> Path:
        """What another rank of the run failed with."""
        return self.path / "peer_error.txt"

    @property
    def journal(self) -> Path:
        """The append-only record of metrics, params, tags and artifacts."""
        return self.path / "journal.jsonl"

    @property
    def torn_journal(self) -> Path:
        """Last lines of the journal that a kill has torn."""
        return self.path / "journal.torn"

    @property
    def mirror(self) -> Path:
        """How much of the journal MLflow has."""
        return self.path / "mlflow.json"

    @property
    def threads(self) -> Path:
        """The number of CPU threads that the run began with."""
        return self.path / "threads"

    @property
    def updates_log(self) -> Path:
        """A line an update executed, those after a resume too."""
        return self.path / "updates.log"

    @property
    def checkpoints(self) -> Path:
        """Folders of checkpoints."""
        return self.path / "checkpoints"

    def episodes(self, policy: str) -> Path:
        """Recorded episodes of an evaluated policy: `test`, `untrained`, `baseline/rule`, ..."""
        return self.path / "episodes" / f"{policy.replace('/', '_')}.jsonl"

    def table(self, name: str) -> Path:
        """A table for MLflow."""
        return self.path / "tables" / f"{name}.json"

    def traces(self, name: str) -> Path:
        """Trajectories for MLflow's traces."""
        return self.path / "traces" / f"{name}.json"
