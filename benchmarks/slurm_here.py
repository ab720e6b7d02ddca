"""The Slurm cluster of tests/slurm/cluster.sh, on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from webshop_rl.errors import UserError

_SCRIPT = Path(__file__).parents[1] / "tests/slurm/cluster.sh"
_NEEDED = ("slurmctld", "slurmd", "munged")


def missing() -> str:
    """Why no cluster can be started here; "" if it can."""
    if os.geteuid() != 0:
        return "only root can start the test cluster"
    lacking = [name for name in _NEEDED if shutil.which(name) is None]
    return f"Slurm is not installed here ({', '.join(lacking)})" if lacking else ""


@contextlib.contextmanager
def cluster() -> Iterator[Path]:
    """A cluster that is up, and SLURM_CONF set to it; stopped afterwards if it was not up before.

    Yields: its folder.
    Raises: UserError where none can be started.
    """
    if reason := missing():
        raise UserError(reason, where="Slurm", remedy="as root on Debian: bash tests/slurm/install.sh")
    root = Path(os.environ.get("SLURM_TEST_ROOT", "/tmp/webshop-rl-slurm"))
    was_up = subprocess.run([str(_SCRIPT), "is-up"], check=False).returncode == 0
    if not was_up:
        subprocess.run([str(_SCRIPT), "up"], check=True, stdout=subprocess.DEVNULL)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(root / "etc/slurm.conf")
    try:
        yield root
    finally:
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
        if not was_up:
            subprocess.run([str(_SCRIPT), "down"], check=True, stdout=subprocess.DEVNULL)
