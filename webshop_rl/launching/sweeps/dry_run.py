"""What a launch would do and cost, without doing it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from webshop_rl.config.groups import HardwareConfig
from webshop_rl.launching.cluster.commands import max_array_size
from webshop_rl.launching.cluster.time_limit import minutes
from webshop_rl.launching.local.slots import local_slots
from webshop_rl.launching.runs.compose import ComposedRun
from webshop_rl.launching.runs.plan import Planned
from webshop_rl.launching.slurm.queue import split
from webshop_rl.launching.sweeps.estimate import estimate

_SHOWN = 50


def print_plan(
    console: Console,
    runs: Sequence[tuple[ComposedRun, Planned, str]],
    *,
    hardware: HardwareConfig,
    executor: str,
    pack: int,
) -> None:
    """The runs with what would become of each, then the cost of those that would be started.

    Args:
        runs: (composed, planned, label) of each.
        hardware: what a job asks for.
        executor: "local" or "slurm".
        pack: runs that share a job or a GPU.
    """
    table = Table(box=None)
    for column in ("run", "overrides", "would", "memory", "disk"):
        table.add_column(column)
    starting = [planned for _, planned, _ in runs if planned.executes]
    disk = 0.0
    for composed, planned, label in runs:
        needs = estimate(composed.config)
        disk += (needs.disk_gb or 0.0) if planned.executes else 0.0
        if table.row_count < _SHOWN:
            table.add_row(
                planned.run, Text(label), planned.action.value, _gb(needs.gpu_gb), _gb(needs.disk_gb)
            )
    console.print(table)
    if len(runs) > _SHOWN:
        console.print(f"... and {len(runs) - _SHOWN} more")
    cost = _slurm_cost if executor == "slurm" else _local_cost
    lines = [*cost(starting, hardware, pack), f"disk while running: up to {_gb(disk)}"] if starting else []
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    console.print("nothing was started (sweep.dry_run)", highlight=False)


def _slurm_cost(runs: Sequence[Planned], hardware: HardwareConfig, pack: int) -> list[str]:
    slurm = hardware.slurm
    arrays = split(runs, hardware, pack=pack, largest=max_array_size())
    jobs = sum(len(array.groups) for array in arrays)
    hours = jobs * minutes(slurm.time) / 60
    gpus, tasks = (
        slurm.nodes * slurm.gpus,
        slurm.nodes * slurm.tasks_per_node,
    )
    cpus = (slurm.cpus or (hardware.threads or 1) * pack) * tasks
    at_once = sum(array.parallelism for array in arrays)
    each = f"{slurm.nodes} nodes, {tasks} processes, {cpus} cores, {gpus} GPUs, {slurm.time}"
    return [
        f"{jobs} jobs in {len(arrays)} arrays, at most {at_once} at once; each {each}",
        f"at most {hours * gpus:.1f} GPU-hours and {hours * cpus:.1f} core-hours (all to their time limit)",
    ]


def _local_cost(runs: Sequence[Planned], hardware: HardwareConfig, pack: int) -> list[str]:
    slots = local_slots(hardware, len(runs), pack=pack)
    gpus = len({slot.gpu for slot in slots if slot.gpu})
    return [
        f"{len(runs)} processes here, {len(slots)} at once, {slots[0].threads} threads each, on {gpus} GPUs"
    ]


def _gb(size: float | None) -> str:
    if size is None:
        return "?"
    return f"{size:.1f} GB" if size >= 0.1 else f"{1000 * size:.0f} MB"
