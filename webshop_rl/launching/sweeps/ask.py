"""The question at Ctrl-C while jobs are on Slurm: cancel them, or leave them?"""

from __future__ import annotations

import select
import signal
import sys

from webshop_rl.launching.stop import StopRequests


def ask_to_cancel(policy: str, stop: StopRequests) -> bool:
    """Whether the jobs are to be cancelled.

    Args:
        policy: cancel | leave | ask; asked is only at Ctrl-C, on a terminal.
        stop: a second request while the question stands means: leave them.
    """
    if policy != "ask":
        return policy == "cancel"
    if stop.signum != signal.SIGINT or not sys.stdin.isatty():
        return False
    print("\ncancel the jobs of this sweep? [y/N] ", end="", flush=True)
    while not stop.urgent:
        ready, _, _ = select.select([sys.stdin], [], [], 0.2)
        if ready:
            return sys.stdin.readline().strip().lower() in ("y", "yes")
    return False
