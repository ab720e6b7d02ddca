"""The thread that keeps MLflow up to date during a run and never makes the run wait."""

from __future__ import annotations

import logging
import threading
import time

from webshop_rl.storage.lock import Busy
from webshop_rl.tracking.client import reason
from webshop_rl.tracking.mirror import Mirror

log = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 60.0


class BackgroundMirror:
    """Calls `mirror.sync` every so often; warns once when the tracker goes away, and once when it is back.

    A daemon thread: if the tracker hangs at the end of the run, the process ends all the same.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._away_since: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def finish(self, wait_s: float) -> bool:
        """Stop after a last replay; waits no longer than wait_s. True if the tracker has everything."""
        self._stop.set()
        self._thread.join(wait_s)
        return not self._thread.is_alive() and not self._mirror.behind()

    def _work(self) -> None:
        every = self._mirror.destination.config.sync_every_s
        pause = every
        while not self._stop.wait(pause):
            pause = every if self._try() else min(2 * pause, max(every, _LONGEST_PAUSE_S))
        # One more try, for a replay by another process ends soon and a server may be starting again.
        if not self._try(wait_s=10.0):
            time.sleep(0.5)
            self._try(wait_s=10.0)

    def _try(self, wait_s: float = 0.0) -> bool:
        try:
            sent = self._mirror.sync(wait_s=wait_s)
        except Busy:
            return not wait_s  # someone replays this journal for us
        except Exception as error:
            if self._away_since is None:
                self._away_since = time.monotonic()
                log.warning(
                    "MLflow at %s does not take rows (%s); the run goes on, its journal keeps them",
                    self._mirror.destination.uri, reason(error),
                )  # fmt: skip
            return False
        if self._away_since is not None:
            away_s = time.monotonic() - self._away_since
            log.warning("MLflow is back after %.0f s; %d rows replayed", away_s, sent)
            self._away_since = None
        return True
