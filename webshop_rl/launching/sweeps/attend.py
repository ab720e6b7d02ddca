"""Stays with a sweep until its runs have ended or the user has had enough, and shows how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from webshop_rl.launching.queue import LOOK_SHARE, Queue
from webshop_rl.launching.runs.plan import Action, Planned
from webshop_rl.launching.runs.state import GOING
from webshop_rl.launching.stop import StopRequests
from webshop_rl.launching.sweeps.table import RunView, SweepTable

_TICK_S = 0.2
_GRACE_S = 10.0


def attend(
    queue: Queue,
    planned: Sequence[Planned],
    look: Callable[[], list[RunView]],
    table: SweepTable,
    stop: StopRequests,
    *,
    refresh_s: float,
) -> list[RunView]:
    """Work the queue until it is done and the runs that others execute have ended, too.

    Args:
        queue: holds the runs that this launch executes.
        planned: all runs of the sweep.
        look: the runs as they stand, in the order of planned.
        table: where they are shown.
        stop: requests of the user or the system to end.
        refresh_s: seconds between two updates of the table.
    Returns: the last look.
    """
    next_look, stopping = 0.0, False
    try:
        while True:
            if stop.count and not stopping:
                stopping = True
                queue.stop()
            if stop.urgent:
                queue.kill()
            queue.tick()
            if (began := time.monotonic()) >= next_look or queue.done:
                views = look()
                table.show(views, _note(stop) or queue.note)
                next_look = time.monotonic() + max(refresh_s, LOOK_SHARE * (time.monotonic() - began))
                elsewhere = any(
                    run.action == Action.LEAVE and view.status.state in GOING
                    for run, view in zip(planned, views, strict=True)
                )
                if queue.done and (stopping or not elsewhere):
                    return views
            time.sleep(_TICK_S)
    except BaseException:
        _abandon(queue)
        raise


def _note(stop: StopRequests) -> str:
    if not stop.count:
        return ""
    return "stopping: the runs save themselves; Ctrl-C once more ends them at once"


def _abandon(queue: Queue) -> None:
    """Leave no process behind, whatever went wrong here."""
    queue.stop()
    deadline = time.monotonic() + _GRACE_S
    while not queue.done and time.monotonic() < deadline:
        queue.tick()
        time.sleep(_TICK_S)
    queue.kill()
    queue.tick()
