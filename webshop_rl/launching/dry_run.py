"""What a launch would do and cost, without doing it.

Memory is counted, not measured:

    weights            P * b            the reference too, unless it is the same weights without adapter
    trained            T * (b + 8)      gradients and AdamW's two moments; adapters have b = 4
                       T * 4            where b = 2: the float32 copies that AdamW steps on
    learning           M * (L h + 16 h + 3 f) * b + 0.25 M * V * 8      with gradient checkpointing
                       M * L (12 h + 3 f) * b     + 0.25 M * V * 8      without
    acting             2 B C L k * b    the key-value cache
    acting with vLLM   2 (B + 1) C L k * b + P * b + 0.8 GB: its cache, weights and CUDA; else it sleeps
    in all             weights + trained + max(learning, acting) + 0.8 GB for CUDA
    strategy=fsdp      for trained: (the policy's weights + trained) / N + 2 (V h + a layer) b

P, T parameters in all and trained; b bytes a number; M optim.micro_batch_tokens, a quarter of them
action tokens; L layers, h hidden, f feed-forward, k key-value width, V vocabulary; B rollout.batch_size,
C model.context_tokens; N processes, each of which acts with whole weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from webshop_rl.config.groups import HardwareConfig, SlurmConfig
from webshop_rl.launching.local import local_slots
from webshop_rl.launching.plan import Entry
from webshop_rl.launching.slurm.commands import max_array_size
from webshop_rl.launching.slurm.jobs import minutes
from webshop_rl.launching.slurm.queue import split
from webshop_rl.launching.sweep import Sweep
from webshop_rl.launching.views import counted
from webshop_rl.models.shape import model_shape
from webshop_rl.storage.folders import RunFolder

_SHOWN = 50
_GB = 1e9
_CUDA_BYTES = 0.8e9
_ACTION_FRAC = 0.25


@dataclass(frozen=True)
class Estimate:
    """Of one run: bytes on the GPU, and on disk while it runs. None: the model's size is not known."""

    gpu_gb: float | None
    disk_gb: float | None


def estimate(config: Mapping[str, Any]) -> Estimate:
    """What one run needs, from its resolved configuration."""
    shape = model_shape(config["model"])
    if shape is None:
        return Estimate(None, None)
    model, rollout = config["model"], config["rollout"]
    number = 2 if model["dtype"] == "bfloat16" else 4
    adapters = bool(model["lora"]["enabled"])
    trained = shape.adapter_parameters(int(model["lora"]["rank"])) if adapters else shape.parameters
    trained_number = 4 if adapters else number
    policy = shape.parameters * number + (trained * 4 if adapters else 0)
    weights = policy + (0 if adapters else shape.parameters * number)
    copies = 4 if trained_number < 4 else 0
    learnt: float = trained * (trained_number + 8 + copies)
    hardware = config.get("hardware") or {}
    if hardware.get("strategy") == "fsdp":
        num_processes = int(hardware["slurm"]["nodes"]) * int(hardware["slurm"]["tasks_per_node"])
        # What is learnt is shared out; a unit's weights and gradients are whole while it computes.
        unit = shape.vocabulary * shape.hidden + shape.layer_parameters
        learnt = (policy + learnt) / num_processes + 2 * unit * number if num_processes > 1 else learnt
    tokens = int(config["optim"]["micro_batch_tokens"])
    h = shape.hidden
    f = shape.feed_forward
    if model["gradient_checkpointing"]:
        activations = tokens * (shape.layers * h + 16 * h + 3 * f) * number
    else:
        activations = tokens * shape.layers * (12 * h + 3 * f) * number
    learning = activations + _ACTION_FRAC * tokens * shape.vocabulary * 8
    transcript = 2 * int(model["context_tokens"]) * shape.layers * shape.key_value * number
    acting: float = int(rollout["batch_size"]) * transcript
    if rollout["engine"] != "native":
        acting += transcript + shape.parameters * number + _CUDA_BYTES
    memory = weights + learnt + max(learning, acting) + _CUDA_BYTES
    # The last and the best checkpoint and the one being written, each with the optimiser's state.
    disk = 3 * trained * (trained_number + 8 + copies)
    return Estimate(memory / _GB, disk / _GB)


def print_plan(console: Console, sweep: Sweep, entries: Sequence[Entry], *, num_sampled: int = 0) -> None:
    """The runs with what would become of each, then the cost of those that would be started.

    Args:
        num_sampled: runs whose reference returns a task of its own would sample first.
    """
    table = Table(box=None)
    for column in ("run", "overrides", "would", "GPU memory", "disk"):
        table.add_column(column)
    starting = [entry.folder for entry in entries if entry.planned.executes]
    disk = 0.0
    for entry in entries:
        planned = entry.planned
        needs = estimate(entry.composed.config)
        disk += (needs.disk_gb or 0.0) if planned.executes else 0.0
        if table.row_count < _SHOWN:
            table.add_row(
                planned.run, Text(entry.label), planned.action.value, _gb(needs.gpu_gb), _gb(needs.disk_gb)
            )
    console.print(table)
    if len(entries) > _SHOWN:
        console.print(f"... and {len(entries) - _SHOWN} more")
    cost = _slurm_cost if sweep.executor == "slurm" else _local_cost
    options = sweep.config.hardware, sweep.config.sweep.pack
    asked = cost(starting, *options, num_sampled) if starting else []
    lines = [*asked, f"disk while running: up to {_gb(disk)}"] if starting else []
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    console.print("nothing was started (sweep.dry_run)", highlight=False)


def _slurm_cost(
    runs: Sequence[RunFolder], hardware: HardwareConfig, pack: int, num_sampled: int
) -> list[str]:
    slurm = hardware.slurm
    arrays = split(runs, hardware, pack=pack, largest=max_array_size())
    jobs = sum(len(array.jobs) for array in arrays)
    limit_hours = minutes(slurm.time) / 60
    gpus = slurm.nodes * slurm.gpus
    tasks = slurm.nodes * slurm.tasks_per_node
    task_cpus = slurm.cpus or (hardware.threads or 1) * pack
    cpus = task_cpus * tasks
    gpu_hours = limit_hours * gpus * jobs
    core_hours = limit_hours * cpus * jobs
    first = []
    if num_sampled:
        own = f"1 node, 1 process, {counted(task_cpus, 'core')}"
        first = [f"before them 1 job of {own}: {_task(num_sampled)}"]
        gpu_hours += limit_hours * slurm.gpus
        core_hours += limit_hours * task_cpus
    at_once = sum(array.parallelism for array in arrays)
    each = (
        f"{counted(slurm.nodes, 'node')}, {counted(tasks, 'process', 'processes')}, "
        f"{counted(cpus, 'core')}, {counted(gpus, 'GPU')}, {slurm.time}"
    )
    return [
        f"{counted(jobs, 'job')} in {counted(len(arrays), 'array')}, at most {at_once} at once; each {each}",
        *first,
        f"asked of Slurm: {', '.join(_request(slurm))}",
        f"at most {gpu_hours:.1f} GPU-hours and {core_hours:.1f} core-hours (all to their time limit)",
    ]


def _request(slurm: SlurmConfig) -> Iterator[str]:
    """Who pays, where it runs, memory, and the options beyond those that have a key."""
    yield f"partition {slurm.partition or '(the default)'}"
    yield f"memory {slurm.mem} a node" if slurm.mem else "memory (the default)"
    for name in ("account", "qos"):
        if value := getattr(slurm, name):
            yield f"{name} {value}"
    yield from (f"--{name}={value}" for name, value in slurm.sbatch.items())


def _task(num_sampled: int) -> str:
    """What the task before the runs does (sweep.vstar_job)."""
    return f"V*'s reference returns of {counted(num_sampled, 'run')}"


def _local_cost(
    runs: Sequence[RunFolder], hardware: HardwareConfig, pack: int, num_sampled: int
) -> list[str]:
    slots = local_slots(hardware, len(runs), pack=pack)
    gpus = len({slot.gpu for slot in slots if slot.gpu})
    return [
        f"{counted(len(runs), 'process', 'processes')} here, {len(slots)} at once, "
        f"{counted(slots[0].threads, 'thread')} each, on {counted(gpus, 'GPU')}",
        *([f"before them 1 process: {_task(num_sampled)}"] if num_sampled else []),
    ]


def _gb(size: float | None) -> str:
    if size is None:
        return "?"
    return f"{size:.1f} GB" if size >= 0.1 else f"{1000 * size:.0f} MB"
