"""Ends an engine's processes once the run that started them is gone, killed too, and deletes its folder.

    python -m webshop_rl.rollout.engines.guard FOLDER PID:CREATED ...

reads its input to the end, which comes when whoever holds the other end of the pipe is gone, and kills what
is still there of these processes. An engine that outlived its run would keep a GPU's memory, and a folder in
shared memory is memory.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]


def guard(folder: Path, pids: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start a guard of a folder and processes; it acts when this process ends or its input is closed."""
    words = [f"{pid}:{psutil.Process(pid).create_time()}" for pid in pids]
    command = [sys.executable, "-m", "webshop_rl.rollout.engines.guard", str(folder), *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def main(words: Sequence[str]) -> None:
    """Wait, kill, delete."""
    folder, *processes = words
    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, signal.SIG_IGN)  # whoever is asked to stop may need the engine a while longer
    sys.stdin.buffer.read()
    for word in processes:
        pid, _, created = word.partition(":")
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(pid))
            if str(process.create_time()) == created:
                process.kill()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
