"""Applies small errors to a copy of the code, one at a time, and sees that the tests named for it fail.

    python -m tests.mutants [WORD ...] [--list] [--jobs N]

WORD picks the mutants whose name or file contains it. Exit code 1 if one survives, if its text is not
found exactly once, or if a test fails without any mutant. The working tree is never changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("webshop_rl", "hydra_plugins", "analysis", "benchmarks", "conf", "docs", "tests")
TIMEOUT_S = 600.0


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("words", nargs="*", help="only mutants whose name or file contains one of these")
    parser.add_argument("--list", action="store_true", help="list them and run nothing")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="mutants at a time")
    options = parser.parse_args()
    words = options.words or [""]
    chosen = [m for m in MUTANTS if any(word in m.name or word in m.file for word in words)]
    if options.list:
        print("\n".join(f"{mutant.file}: {mutant.name}" for mutant in chosen))
        return 0
    stale = [m for m in chosen if (REPOSITORY / m.file).read_text().count(m.old) != 1]
    for mutant in stale:
        print(f"STALE     {mutant.file}: {mutant.name}: its text is not found exactly once")
    _load_libraries()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        results = _run_all([m for m in chosen if m not in stale], Path(folder), options.jobs)
    bad = [line for line in results if not line.startswith("killed")]
    seconds = time.monotonic() - began
    print(f"{len(results) - len(bad)} killed, {len(bad)} not, {len(stale)} stale, {seconds:.0f} s")
    return 1 if bad or stale or not chosen else 0


def _run_all(mutants: list[Mutant], folder: Path, jobs: int) -> list[str]:
    """One line a mutant; first of all, the tests must pass on the code as it is."""
    trees = [_copy(folder / str(number)) for number in range(max(1, jobs))]
    everything = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    free, running, results = list(trees), dict[int, tuple[Path, Mutant | None, float]](), []
    clean = free.pop()
    running[_start(clean, everything)] = (clean, None, time.monotonic())
    waiting = list(mutants)
    while running or waiting:
        while free and waiting:
            tree, mutant = free.pop(), waiting.pop(0)
            _write(tree, mutant, mutant.old, mutant.new)
            running[_start(tree, mutant.tests)] = (tree, mutant, time.monotonic())
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            time.sleep(0.05)
            for late, (_, _, since) in running.items():
                if time.monotonic() - since > TIMEOUT_S:
                    os.kill(late, signal.SIGKILL)
            continue
        tree, done, since = running.pop(pid)
        free.append(tree)
        code = os.waitstatus_to_exitcode(status)
        if done is None:
            if code != 0:
                results.append("BROKEN    the tests fail without a mutant")
                print(results[-1] + "\n" + (tree / "output.txt").read_text()[-4000:], flush=True)
                waiting = []
            continue
        _write(tree, done, done.new, done.old)
        # pytest's own codes: 0 all passed, 1 some failed; any other says that nothing was tested.
        word = {0: "SURVIVED", 1: "killed", -signal.SIGKILL: "killed"}.get(code, "BROKEN")
        results.append(f"{word:9s} {done.file}: {done.name} ({time.monotonic() - since:.0f} s)")
        print(results[-1], flush=True)
        if word == "BROKEN":
            print((tree / "output.txt").read_text()[-2000:], flush=True)
    return results


def _copy(tree: Path) -> Path:
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("launch.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tree)
    return tree


def _write(tree: Path, mutant: Mutant, old: str, new: str) -> None:
    file = tree / mutant.file
    text = file.read_text()
    if mutant.old == old:
        file.write_text(text.replace(old, new))
    else:
        shutil.copy(REPOSITORY / mutant.file, file)


def _load_libraries() -> None:
    """What takes seconds to import is imported once; each mutant's tests run in a fork of this process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import hydra  # noqa: F401
    import hypothesis  # noqa: F401
    import peft  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch

    torch.set_num_threads(1)


def _start(tree: Path, tests: tuple[str, ...]) -> int:
    """Run tests of a tree in a process of their own; its id."""
    pid = os.fork()
    if pid:
        return pid
    import pytest

    os.chdir(tree)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.dont_write_bytecode = True
    # The tree's modules, not those of this process or of an editable install.
    sys.path[:] = [str(tree), *(p for p in sys.path if p and Path(p).resolve() != REPOSITORY)]
    for name in [n for n in sys.modules if n.split(".")[0] in ("tests", *COPIED)]:
        del sys.modules[name]
    os.environ["PYTHONPATH"] = str(tree)
    code = 3
    try:
        code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests]))
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
