"""What a launch asks of a machine or a cluster, checked before anything is started."""

from __future__ import annotations

import re

from webshop_rl.config.groups import HardwareConfig
from webshop_rl.errors import UserError
from webshop_rl.launching.cluster.time_limit import minutes


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
