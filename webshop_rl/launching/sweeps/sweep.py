"""What the runs of a sweep share, and who executes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from webshop_rl.config.groups import HardwareConfig, SweepConfig
from webshop_rl.config.load import as_typed
from webshop_rl.launching.cluster.request import check_request
from webshop_rl.launching.executors import resolve_executor
from webshop_rl.launching.runs.compose import ComposedRun
from webshop_rl.launching.runs.plan import Wishes
from webshop_rl.launching.runs.worker import ENTRY
from webshop_rl.launching.sweeps.manifest import check_name
from webshop_rl.source import SOURCE, code_digest
from webshop_rl.tracking.config import TrackingSettings, resolve


@dataclass(frozen=True)
class Sweep:
    """What the runs of a sweep share.

    Attributes:
        name: of the sweep, and of its folder.
        root: absolute folder of the runs.
        executor: "local" or "slurm".
        source: where the code lies that executes the runs; a copy of it is frozen.
        entry: `module:function` that executes a run's folder and returns the objective.
    """

    name: str
    root: Path
    hardware: HardwareConfig
    settings: SweepConfig
    tracking: TrackingSettings
    wishes: Wishes
    executor: str
    source: Path = SOURCE
    entry: str = ENTRY

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
    root = Path(config.root)
    executor = resolve_executor(config.hardware, config.sweep)
    check_request(config.hardware, executor)
    return Sweep(
        name=check_name(config.sweep.name or name),
        root=root,
        hardware=config.hardware,
        settings=config.sweep,
        tracking=resolve(config.tracking, root=root, experiment=config.experiment_name),
        wishes=Wishes(config.retry, config.rerun, config.on_code_change),
        executor=executor,
    )
