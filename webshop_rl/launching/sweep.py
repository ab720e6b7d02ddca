"""What the runs of a sweep share, and who executes them."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from webshop_rl.config.groups import HardwareConfig, SweepConfig
from webshop_rl.config.load import as_typed
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import ComposedRun
from webshop_rl.launching.manifest import check_name
from webshop_rl.launching.plan import Reuse
from webshop_rl.launching.slurm.jobs import minutes
from webshop_rl.source import SOURCE, code_digest
from webshop_rl.storage.folders import Root
from webshop_rl.tracking.config import TrackingSettings, resolve

# `module:function` in the place of training: None but in the processes of tests of the launcher.
TASK: str | None = None


@dataclass(frozen=True)
class Sweep:
    """What the runs of a sweep share.

    Attributes:
        name: of the sweep, and of its folder.
        root: the folder of `root=`, absolute.
        executor: "local" or "slurm".
        source: where the code lies that executes the runs; a copy of it is frozen.
        task: in the place of training; see worker.LocalJob.
    """

    name: str
    root: Root
    hardware: HardwareConfig
    settings: SweepConfig
    tracking: TrackingSettings
    reuse: Reuse
    executor: str
    source: Path = SOURCE
    task: str | None = None

    @property
    def code(self) -> str:
        """Digest of the code that executes the runs."""
        return code_digest(self.source)


def sweep_of(run: ComposedRun, name: str) -> Sweep:
    """The sweep that a run's configuration describes.

    Args:
        run: any of the sweep.
        name: where the configuration gives none.
    Raises: UserError if it cannot be executed here.
    """
    config = as_typed(run.config)
    root = Root(Path(config.root))
    executor = resolve_executor(config.hardware, config.sweep)
    check_request(config.hardware, executor)
    return Sweep(
        name=check_name(config.sweep.name or name),
        root=root,
        hardware=config.hardware,
        settings=config.sweep,
        tracking=resolve(config.tracking, root=root.path, experiment=config.experiment_name),
        reuse=Reuse(config.retry, config.rerun, config.on_code_change),
        executor=executor,
        task=TASK,
    )


def resolve_executor(hardware: HardwareConfig, sweep: SweepConfig) -> str:
    """ "local" or "slurm".

    Raises: UserError if Slurm is asked for and not there, or sweep.wait does not fit the executor.
    """
    found = shutil.which("sbatch") is not None
    if hardware.executor == "slurm" and not found:
        raise UserError(
            "there is no sbatch on this machine", where="hardware.executor", remedy="hardware=cpu or gpu"
        )
    chosen = "slurm" if hardware.executor == "slurm" or (hardware.executor == "auto" and found) else "local"
    if chosen == "local" and not sweep.wait:
        raise UserError(
            "local runs end with their launcher", where="sweep.wait", remedy="sweep.wait=true, or Slurm"
        )
    return chosen


def check_request(hardware: HardwareConfig, executor: str) -> None:
    """See that the keys in Slurm's notation can be read, and that the executor can give what they ask for.

    Args:
        executor: "local" or "slurm".
    Raises: UserError naming the first key that is wrong.
    """
    slurm = hardware.slurm
    minutes(slurm.time)
    if slurm.mem is not None and not re.fullmatch(r"\d+[KMGT]?B?", slurm.mem.strip(), re.IGNORECASE):
        raise UserError(f"{slurm.mem!r} is no amount of memory", where="hardware.slurm.mem", remedy="e.g. 8G")
    for key, asked in (("nodes", slurm.nodes), ("tasks_per_node", slurm.tasks_per_node)):
        if executor == "local" and asked > 1:
            raise UserError(
                f"{asked} asked for, but a local run is one process",
                where=f"hardware.slurm.{key}",
                remedy=f"hardware.slurm.{key}=1, or Slurm",
            )
