"""Runs launch.py with the stand-in for training, and reads what it left."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.paths import REPOSITORY

HERE = Path(__file__).parent

# Real training in seconds.
QUICK = (
    "debug=quick",
    "model.hidden_size=32",
    "model.num_layers=2",
    "env.max_steps=5",
    "evaluation.test_episodes=12",
    "hardware.threads=1",
)


@functools.cache
def checkout(*, trains: bool = True) -> Path:
    """A copy of the code for all tests of this process, so that an edit meanwhile is no code change."""
    folder = Path(tempfile.mkdtemp(prefix="checkout-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return copy_checkout(folder, trains=trains)


def copy_checkout(folder: Path, *, trains: bool = True) -> Path:
    """A copy of the code; one that does not train has the stand-in in the place of experiment.py."""
    for name in ("webshop_rl", "hydra_plugins", "conf"):
        shutil.copytree(
            REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*.part")
        )
    shutil.copy(REPOSITORY / "launch.py", folder)
    if not trains:
        shutil.copy(HERE / "fake_training.py", folder / "webshop_rl/experiment.py")
    return folder


class Command:
    """launch.py on a root of its own.

    Args:
        root: of the runs.
        source: checkout whose launch.py is run; by default a copy of this one, with the stand-in or without.
        trains: whether that copy really trains.
        **behaviour: seed number (as `s3`) to what the stand-in does.
    """

    def __init__(
        self,
        root: Path,
        source: Path | None = None,
        *,
        trains: bool = False,
        **behaviour: str,
    ) -> None:
        self.root, self.source = root, source or checkout(trains=trains)
        self.environment = {
            **os.environ,
            "FAKE_TRAINING": json.dumps({k.removeprefix("s"): v for k, v in behaviour.items()}),
            "COLUMNS": "200",
        }

    @property
    def launch(self) -> list[str]:
        """The words that run launch.py."""
        return [sys.executable, str(self.source / "launch.py")]

    def start(self, *overrides: str, stdin: int | None = None) -> subprocess.Popen[str]:
        flags = [o for o in overrides if o.startswith("-")]
        given = [o for o in overrides if not o.startswith("-")]
        common = {"root": str(self.root), "tracking": "journal", "num_updates": "4"}
        for override in given:
            common.pop(override.partition("=")[0], None)
        keys = [f"{key}={value}" for key, value in common.items()]
        return subprocess.Popen(
            [*self.launch, *flags, *keys, *given],
            cwd=self.root.parent,
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *overrides: str, timeout_s: float = 180.0) -> tuple[int, str]:
        process = self.start(*overrides)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise AssertionError(f"still running after {timeout_s} s: {process.communicate()[0]}") from None
        return process.returncode, output

    def let_go(self) -> None:
        """Runs that hold go on."""
        (self.root / "go").touch()

    def status(self, *words: str) -> tuple[int, str]:
        """The status command, from the same checkout."""
        done = subprocess.run(
            [sys.executable, "-m", "webshop_rl.launching.status", *words, "--root", str(self.root)],
            cwd=self.source,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def runs(self) -> dict[int, Path]:
        """Run folders by seed."""
        folders = sorted((self.root / "runs").glob("*/signature.json"))
        return {json.loads(f.read_text())["fields"]["seed"]: f.parent for f in folders}

    def states(self) -> dict[int, str]:
        return {seed: read(folder / "status.json")["state"] for seed, folder in self.runs().items()}

    def attempts(self) -> dict[int, list[dict[str, Any]]]:
        """What the stand-in noted at each start, by seed."""
        found = {}
        for seed, folder in self.runs().items():
            log = folder / "attempts.jsonl"
            lines = log.read_text().splitlines() if log.exists() else []
            found[seed] = [json.loads(line) for line in lines]
        return found


def read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def wait_until(condition: Callable[[], bool], timeout_s: float = 180.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def end(process: subprocess.Popen[str], signum: signal.Signals) -> tuple[int, str]:
    process.send_signal(signum)
    output, _ = process.communicate(timeout=180)
    return process.returncode, output


def sampled_once_before(root: Path) -> None:
    """Assert that reference returns were sampled once for the runs that have V*, before any run began."""
    notes = {folder.name: read(folder / "note.json") for folder in (root / "runs").iterdir()}
    (sampled,) = [json.loads(line) for line in (root / "sampled.jsonl").read_text().splitlines()]
    algos = {run: read(root / "runs" / run / "signature.json")["fields"]["algo.name"] for run in notes}
    assert sampled["runs"] == sorted(run for run, algo in algos.items() if algo == "apo_pg")
    assert min(note["started"] for note in notes.values()) > sampled["ended"]
