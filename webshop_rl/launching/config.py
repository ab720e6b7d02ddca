"""Schemas of the groups `hardware` and `sweep`. Values live in conf/; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from webshop_rl.ranges import choice, ranged


@dataclass
class HardwareConfig:
    """Where a run executes; schema of conf/hardware/*.yaml.

    Attributes:
        executor: local: processes of this machine | slurm: jobs | auto: slurm where sbatch exists.
        device: cpu | cuda | auto (cuda where a GPU is visible).
        threads: CPU threads of one run; null shares the cores evenly between the runs at work.
        max_parallel: local runs at once; null is as many as cores (or GPUs) allow.
        gpus: GPUs of one run on Slurm, on each of its nodes.
        restarts: how often in a row a run that was killed is started again without having got further.
        nodes, tasks_per_node: Slurm: more than one task in all trains with several processes.
        cpus: CPU cores a task asks of Slurm; null is `threads`, or 1.
        mem: memory a node, in Slurm's notation; null leaves it to the cluster.
        time: time limit in Slurm's notation (minutes, HH:MM:SS or D-HH:MM:SS).
        signal_s: seconds before the time limit at which a run is told to save itself and requeue.
        partition, account, qos: as the cluster calls them; null leaves them to it.
        array_parallelism: jobs of one sweep at once; null is no limit of ours.
        setup: shell lines before the run, e.g. `module load cuda`.
        container: words before the python command, e.g. `apptainer exec --nv image.sif`.
        python: the python command on the nodes; null is the one in use here.
        sbatch: further sbatch options by long name, e.g. {constraint: h100}.
        strategy: how the processes of one run share the model: ddp | fsdp.
    """

    name: str = ranged()
    executor: str = choice("auto", "local", "slurm")
    device: str = choice("auto", "cpu", "cuda")
    threads: int | None = ranged(ge=1)
    max_parallel: int | None = ranged(ge=1)
    gpus: int = ranged(ge=0)
    restarts: int = ranged(ge=0)
    nodes: int = ranged(ge=1)
    tasks_per_node: int = ranged(ge=1)
    cpus: int | None = ranged(ge=1)
    mem: str | None = "???"
    time: str = "???"
    signal_s: int = ranged(ge=5)
    partition: str | None = "???"
    account: str | None = "???"
    qos: str | None = "???"
    array_parallelism: int | None = ranged(ge=1)
    setup: list[str] = field(default_factory=list)
    container: str | None = "???"
    python: str | None = "???"
    sbatch: dict[str, Any] = field(default_factory=dict)
    strategy: str = choice("ddp", "fsdp")


@dataclass
class SweepConfig:
    """How a multirun is dispatched; schema of conf/sweep/*.yaml.

    Attributes:
        name: name of the sweep; null makes one from the overrides, the same for the same command.
        wait: stay until all runs have ended (local runs always need it).
        dry_run: print what would be started, and start nothing.
        on_interrupt: Ctrl-C with jobs on Slurm: ask | cancel | leave.
        pack: runs that share one GPU (or one Slurm job).
        refresh_s: seconds between two looks at the runs.
    """

    name: str | None = "???"
    wait: bool = True
    dry_run: bool = False
    on_interrupt: str = choice("ask", "cancel", "leave")
    pack: int = ranged(ge=1)
    refresh_s: float = ranged(gt=0)


HARDWARE_CONFIG = HardwareConfig
SWEEP_CONFIG = SweepConfig
