"""The test cluster itself: two of them are made at once, and a database is there whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLUSTER = Path(__file__).with_name("cluster.sh")

# Leaves half a database, says what it was asked for, and fails.
HALF_AN_INSTALL = """#!/bin/sh
for option in "$@"; do case "$option" in --datadir=*) mkdir -p "${option#--datadir=}/mysql";; esac; done
echo "ERROR: 1051 Unknown table, after $*"
exit 1
"""


@pytest.mark.skipif(shutil.which("mariadbd") is None, reason="accounting is not installed: mariadb-server")
def test_a_database_half_made_is_not_taken_for_one_and_the_reason_is_shown(tmp_path: Path) -> None:
    tools, root = tmp_path / "tools", tmp_path / "cluster"
    tools.mkdir()
    install = tools / "mariadb-install-db"
    install.write_text(HALF_AN_INSTALL)
    install.chmod(0o755)
    settings = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "SLURM_TEST_ROOT": str(root),
        "PORTS": "28900",
        "ACCOUNTING": "slurmdbd",
    }
    environment = os.environ | settings
    for _ in range(2):  # the second time as the first: nothing was left that looks like a database
        done = subprocess.run(
            [str(CLUSTER), "up"], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1
        assert "ERROR: 1051 Unknown table" in done.stderr
        # A server deletes what others keep in its tmpdir when it starts: each cluster has one of its own.
        assert f"--tmpdir={root}/" in done.stderr
        assert not (root / "db").exists()
