"""Ends an engine's processes once the run that started them is gone, killed too.

    python -m webshop_rl.rollout.engines.guard PID:CREATED ...

reads its input to the end, which comes when whoever holds the other end of the pipe is gone, and kills what
is still there of these processes. An engine that outlived its run would keep a GPU's memory.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Sequence

import psutil  # type: ignore[import-untyped]


def guard(pids: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start a guard of processes; it acts when this process ends, or when its input is closed."""
    words = [f"{pid}:{psutil.Process(pid).create_time()}" for pid in pids]
    command = [sys.executable, "-m", "webshop_rl.rollout.engines.guard", *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def main(words: Sequence[str]) -> None:
    """Wait, then kill."""
    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, signal.SIG_IGN)  # whoever is asked to stop may need the engine a while longer
    sys.stdin.buffer.read()
    for word in words:
        pid, _, created = word.partition(":")
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(pid))
            if str(process.create_time()) == created:
                process.kill()


if __name__ == "__main__":
    main(sys.argv[1:])
