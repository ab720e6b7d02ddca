"""log.txt: what a run prints, line by line with the time, beside the terminal or instead of it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from typing import TextIO, cast

from webshop_rl.screen import unfailing
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.run_status import read_status

_STAMP = "%Y-%m-%d %H:%M:%S "
_STAMPED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
# What moves a terminal's cursor or sets a colour.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# A progress bar begins its line anew with these.
_ANEW = re.compile(r".*(?:\r|\x1b\[2K)")


class LogLines(io.TextIOBase):
    """A text stream whose lines go to a log with the time, and to a screen as they are.

    Of a line that a progress bar has rewritten, the log has what stood there in the end.

    Args:
        log: open for appending.
        screen: where else the text goes; None for nowhere.
    """

    def __init__(self, log: TextIO, screen: TextIO | None = None) -> None:
        self._log = log
        self._screen = screen
        self._line = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the screen's, for what asks before it prints."""
        return "utf-8" if self._screen is None else self._screen.encoding

    def writable(self) -> bool:
        """True."""
        return True

    def isatty(self) -> bool:
        """Whether the screen is a terminal."""
        return self._screen is not None and self._screen.isatty()

    def fileno(self) -> int:
        """The screen's, or the log's."""
        return (self._screen or self._log).fileno()

    def write(self, text: str) -> int:
        """Pass the text on; a line is in the log once it is complete."""
        if self._screen is not None:
            self._screen.write(text)
        *lines, rest = (self._line + text).split("\n")
        self._line = _ANEW.sub("\r", rest)
        for line in lines:
            shown = _CONTROL.sub("", _ANEW.sub("", line.rstrip("\r"))).rstrip()
            self._log.write(f"{time.strftime(_STAMP)}{shown}\n" if shown else "\n")
        return len(text)

    def flush(self) -> None:
        """Of both."""
        if self._screen is not None:
            self._screen.flush()
        self._log.flush()


@contextlib.contextmanager
def logged(run: RunFolder, *, screen: bool) -> Iterator[None]:
    """Within, all that Python prints is appended to the run's log, which fails no run (a full disk).

    Args:
        run: the one that this process executes.
        screen: whether it is shown where it was shown before, too.
    """
    status = read_status(run)
    attempt = 1 + (status.attempts if status else 0)
    before = (sys.stdout, sys.stderr)
    with (run.log).open("ab") as file, unfailing(file.fileno()) as log:
        sys.stdout = cast(TextIO, LogLines(log, before[0] if screen else None))
        sys.stderr = cast(TextIO, LogLines(log, before[1] if screen else None))
        LogLines(log).write(f"attempt {attempt} on {socket.gethostname()}, process {os.getpid()}\n")
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            sys.stdout, sys.stderr = before


def unstamped(line: str) -> str:
    """A line of a log without its time."""
    return _STAMPED.sub("", line, count=1) if _STAMPED.match(line) else line
