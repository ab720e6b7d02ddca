"""Which executor serves a sweep: processes of this machine, or Slurm."""

from __future__ import annotations

import shutil

from webshop_rl.config.groups import HardwareConfig, SweepConfig
from webshop_rl.errors import UserError


def resolve_executor(hardware: HardwareConfig, sweep: SweepConfig) -> str:
    """ "local" or "slurm".

    Raises: UserError if Slurm is asked for and not there, or the wishes do not fit the executor.
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
