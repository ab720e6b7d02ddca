"""Work of a report that a forked process does meanwhile: what it is made of is inherited, not sent."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

from webshop_rl.errors import UserError

Result = TypeVar("Result")


def can_fork() -> bool:
    """Whether a process can be forked from this one: it has no other thread, whose locks would stay shut."""
    return sys.platform == "linux" and threading.active_count() == 1


def aside(work: Callable[[], Result]) -> Callable[[], Result]:
    """Begin work in a forked process; where there can be none it is done when its result is asked for.

    Args:
        work: uses no connection that is open here; its result can be pickled.
    Returns: waits for the result, or raises what the work raised.
    """
    if not can_fork():
        return work
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_send, args=(work, sender), daemon=True)
    process.start()
    sender.close()

    def result() -> Result:
        with receiver:
            try:
                error, made = receiver.recv()
            except EOFError:
                # Killed, as by a machine that is short of memory: once more, alone.
                return work()
            finally:
                process.join()
        if error is not None:
            raise error
        return made

    return result


def _send(work: Callable[[], object], sender: Connection) -> None:
    with sender:
        try:
            sender.send((None, work()))
        except (UserError, OSError) as error:
            sender.send((error, None))
