"""What a run keeps in memory: `python -m benchmarks.run_memory [--data-dir FOLDER] [OVERRIDE ...]`.

First what its imports cost, one after the other; then a real run in a process of its own, looked at from
outside after every update: what is resident of it, in which parts, and the peak since the line before. With
the data it clones on the real WebShop, without it is the default run. Evaluations are part of it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from webshop_rl.cli import command
from webshop_rl.storage.folders import RunFolder

IMPORTS = ("torch", "transformers.models.llama.modeling_llama", "webshop_rl.experiment", "mlflow")
POLL_S = 0.05
SHORT = (
    "num_updates=40",
    "evaluation.every=20",
    "evaluation.val_episodes=128",
    "evaluation.test_episodes=20",
)
COLUMNS = ("resident", "peak", "C heap", "Python", "files")


def line(what: str, numbers: Sequence[float]) -> None:
    """One row, MB."""
    print(f"{what:46s}" + "".join(f"{number:10.0f}" for number in numbers), flush=True)


def resident(pid: int) -> list[float]:
    """MB of a process: all, peak since the last call, and by what is mapped there; [] once it has ended.

    The C heap has the tensors below 32 MB, "Python" is the rest without a file: objects of Python and larger
    tensors; "files" are libraries.
    """
    parts: Counter[str] = Counter()
    name = ""
    process = Path(f"/proc/{pid}")
    try:
        for text in (process / "smaps").read_text().splitlines():
            if mapped := re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)", text):
                name = {"[heap]": "heap", "": "rest"}.get(mapped[1], "files")
            elif text.startswith("Rss:"):
                parts[name] += int(text.split()[1])
        peak = re.search(r"VmHWM:\s+(\d+)", (process / "status").read_text())
        (process / "clear_refs").write_text("5")  # the peak counts from here on
    except (FileNotFoundError, ProcessLookupError):
        return []
    if peak is None:
        return []
    kilobytes = [sum(parts.values()), int(peak[1]), parts["heap"], parts["rest"], parts["files"]]
    return [number / 1024 for number in kilobytes]


def import_costs() -> None:
    """What is resident after each import, in one fresh process."""
    script = f"""
import importlib, psutil
for name in {IMPORTS!r}:
    importlib.import_module(name)
    print(name, psutil.Process().memory_info().rss / 2**20)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    for text in found.stdout.splitlines():
        name, number = text.split()
        line(f"import {name}", [float(number)])


def watch(overrides: Sequence[str]) -> int:
    """A run from its start to its end; its exit code."""
    with tempfile.TemporaryDirectory() as root:
        trained = [sys.executable, "-m", "webshop_rl", "train", *overrides, f"root={root}"]
        process = subprocess.Popen(trained, stdout=subprocess.DEVNULL)
        seen = -1
        largest = 0.0
        while process.poll() is None:
            time.sleep(POLL_S)
            logs = [RunFolder(folder).updates_log for folder in Path(root).glob("runs/*")]
            update = sum(log.read_text().count("\n") for log in logs if log.exists())
            if update == seen or not (found := resident(process.pid)):
                continue
            line(f"update {update}" if update else "started", found)
            largest = max(largest, found[1])
            seen = update
    line("largest until the last update", [largest])
    return process.returncode


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", default=os.environ.get("WEBSHOP_DATA_DIR"), help="of the real WebShop")
    parser.add_argument("overrides", nargs="*", help="of the configuration, e.g. num_updates=60")
    options = parser.parse_args(arguments)
    overrides = [*SHORT, *options.overrides]
    if options.data_dir:
        data = f"env.data_dir={Path(options.data_dir).resolve()}"
        overrides = ["experiment=webshop_bc", data, *overrides]
    print(f"{'MB':46s}" + "".join(f"{name:>10s}" for name in COLUMNS))
    import_costs()
    return watch(overrides)


if __name__ == "__main__":
    sys.exit(main())
