"""The jobs as they were a moment ago."""

from __future__ import annotations

import time

from webshop_rl.launching.cluster.commands import query_jobs
from webshop_rl.launching.cluster.jobs import Jobs

_POLL_MIN_S, _POLL_MAX_S = 2.0, 15.0


class JobsWatch:
    """The jobs as they were a moment ago; asked for more and more seldom as time goes on."""

    def __init__(self) -> None:
        self._began = self._next = time.monotonic()
        self._latest = Jobs(None)
        self.problem = ""

    def latest(self) -> Jobs:
        """Slurm's answer of at most a few seconds ago; its last one while `problem` says it is away."""
        now = time.monotonic()
        if now >= self._next:
            answer = query_jobs()
            self.problem = answer.problem
            self._latest = answer if answer.reachable else self._latest
            self._next = time.monotonic() + min(max((now - self._began) / 20, _POLL_MIN_S), _POLL_MAX_S)
        return self._latest
