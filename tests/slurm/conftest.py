"""A real Slurm on this machine for the tests of this folder; skipped, with the reason, where none can be.

Under pytest-xdist each worker has a cluster of its own, on ports of its own.

With CI or WEBSHOP_RL_REQUIRE_SLURM set nothing is skipped: a cluster that is not there is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.slurm_commands import Cluster, jobs_left, slurm_command
from tests.support.sweep_command import wait_until

HERE = Path(__file__).parent
CLUSTER = HERE / "cluster.sh"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slurm)


def pytest_configure(config: pytest.Config) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker:
        root = os.environ.get("SLURM_TEST_ROOT", "/tmp/webshop-rl-slurm")
        os.environ["SLURM_TEST_ROOT"] = f"{root}-{worker}"
        os.environ["PORTS"] = str(26900 + 100 * int(worker.removeprefix("gw")))


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    """The cluster is up, with accounting where that is installed, and SLURM_CONF points to it."""
    if shutil.which("slurmctld") is None or shutil.which("munged") is None:
        _cannot("Slurm is not installed: apt-get install slurm-wlm munge (make test-slurm does it)")
    if os.geteuid() != 0:
        _cannot("the test cluster needs root")
    was_up = subprocess.run([str(CLUSTER), "is-up"], check=False).returncode == 0
    _up()
    answer = subprocess.run([str(CLUSTER), "env"], check=True, capture_output=True, text=True)
    os.environ["SLURM_CONF"] = answer.stdout.strip().partition("=")[2]
    yield
    if not was_up:
        subprocess.run([str(CLUSTER), "down"], check=True, timeout=120)


@pytest.fixture
def cluster(slurm: None) -> Iterator[Cluster]:
    """Called with settings, restarts the cluster; the usual ones come back after the test."""

    def restart(**settings: str) -> None:
        if settings.get("ACCOUNTING") == "slurmdbd" and not _has_accounting():
            _cannot("accounting is not installed: apt-get install slurmdbd mariadb-server")
        _up(**settings)

    yield restart
    _empty()
    _up()


@pytest.fixture(autouse=True)
def _quiet_cluster(slurm: None) -> Iterator[None]:
    """Each test finds an idle cluster and leaves one."""
    yield
    _empty()


def _up(**settings: str) -> None:
    accounting = {"ACCOUNTING": "slurmdbd" if _has_accounting() else "none"}
    environment = {**os.environ, **accounting, **settings}
    # Into a file: the daemons that it starts may keep a pipe open.
    with tempfile.TemporaryFile("w+") as stderr:
        done = subprocess.run(
            [str(CLUSTER), "up"], env=environment, timeout=120, stdout=subprocess.DEVNULL, stderr=stderr
        )
        stderr.seek(0)
        if done.returncode != 0:
            pytest.fail(f"cluster.sh up: exit code {done.returncode}:\n{stderr.read()}", pytrace=False)


def _empty() -> None:
    subprocess.run(["scancel", "-u", "root"], check=False, timeout=30)
    for node in ("n1", "n2", "n3"):
        slurm_command("scontrol", "update", f"nodename={node}", "state=resume", check=False)
    wait_until(lambda: not jobs_left())


def _has_accounting() -> bool:
    return shutil.which("slurmdbd") is not None and shutil.which("mariadbd") is not None


def _cannot(reason: str) -> NoReturn:
    if any(os.environ.get(name, "") not in ("", "0", "false") for name in ("CI", "WEBSHOP_RL_REQUIRE_SLURM")):
        pytest.fail(reason)
    pytest.skip(reason)
