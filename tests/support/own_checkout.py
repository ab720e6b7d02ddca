"""A copy of the package and its configurations in which a test may write files of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import REPOSITORY


class OwnCheckout:
    """As a person has it who adds a shop, an algorithm or a machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("webshop_rl", "conf"):
            shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPOSITORY / "launch.py", folder)

    def write(self, name: str, text: str) -> None:
        """Write a file, and make the folder of a module a package."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".py":
            (path.parent / "__init__.py").touch()
        path.write_text(text, encoding="utf-8")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the copy: `launch.py ...` or `-m webshop_rl ...`."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        environment.pop("HYDRA_FULL_ERROR", None)
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
