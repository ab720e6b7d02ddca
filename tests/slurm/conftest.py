"""A real Slurm on this machine for the tests of this folder; skipped, with the reason, where none is."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parent / "cluster.sh"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    """The cluster is up, and SLURM_CONF points to it."""
    if shutil.which("slurmctld") is None:
        pytest.skip("Slurm is not installed: apt-get install slurm-wlm munge (make test-slurm does it)")
    if os.geteuid() != 0:
        pytest.skip("the test cluster needs root")
    was_up = subprocess.run([str(CLUSTER), "is-up"], check=False).returncode == 0
    subprocess.run([str(CLUSTER), "up"], check=True, timeout=120, stdout=subprocess.DEVNULL)
    answer = subprocess.run([str(CLUSTER), "env"], check=True, capture_output=True, text=True)
    os.environ["SLURM_CONF"] = answer.stdout.strip().partition("=")[2]
    yield
    if not was_up:
        subprocess.run([str(CLUSTER), "down"], check=True, timeout=120)


@pytest.fixture(autouse=True)
def _quiet_cluster(slurm: None) -> Iterator[None]:
    """Each test finds an idle cluster and leaves one."""
    yield
    subprocess.run(["scancel", "-u", "root"], check=False, timeout=30)
    for node in ("n1", "n2", "n3"):
        subprocess.run(
            ["scontrol", "update", f"nodename={node}", "state=resume"], check=False, capture_output=True
        )
