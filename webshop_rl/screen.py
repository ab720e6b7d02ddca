"""stdout and stderr that never decide over a run: what a screen cannot take is dropped."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


PIPED_COLUMNS = 160  # where nothing says how wide a line may be


class Screen(io.FileIO):
    """A file descriptor that people look at, on which no write fails.

    A pipe whose reader has ended (`| head`), a terminal that was closed and a full disk all raise OSError at
    a write or a flush, the interpreter's last one included; rich ends the process at such an error.

    Args:
        descriptor: open for writing; left open when the stream is closed.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)

    def write(self, content: Buffer) -> int:
        """Write what can be written; the length of the content whatever came of it."""
        whole = memoryview(content)
        written = 0
        with contextlib.suppress(OSError):
            while written < len(whole):
                # None from a screen that does not block and has no room: the rest is dropped.
                written += super().write(whole[written:]) or len(whole)
        return len(whole)


def keep_screen() -> None:
    """Put such streams in the place of the interpreter's own; first thing in every command.

    A character that the screen's encoding lacks is replaced by a question mark. Streams that somebody else
    has put there already (a test that captures them) stay.
    """
    _occupy_standard_descriptors()
    if sys.stdout is sys.__stdout__:
        sys.stdout = unfailing(1, sys.stdout, "replace")
    if sys.stderr is sys.__stderr__:
        sys.stderr = unfailing(2, sys.stderr, "backslashreplace")


def say_step(what: str) -> None:
    """Say on stderr what a command is about, where a person looks at it: a pipe gets results alone."""
    if sys.stderr.isatty():
        print(f"{what} ...", file=sys.stderr, flush=True)


def table_width() -> int | None:
    """Columns of a table on stdout; None where a terminal or COLUMNS says it. In a pipe nothing is cut."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_COLUMNS


def unfailing(descriptor: int, instead_of: TextIO | None = None, errors: str = "replace") -> TextIO:
    """A text stream over a descriptor, on which no write fails.

    Args:
        descriptor: open for writing; left open when the stream is closed.
        instead_of: the stream whose encoding and buffering it takes over; None for UTF-8, line by line.
        errors: what becomes of characters that the encoding lacks.
    """
    stream = instead_of
    encoding = "utf-8" if stream is None else stream.encoding
    # The old stream's buffer is empty from here on, so nothing is left in it for the interpreter to flush.
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(Screen(descriptor)),
        encoding=encoding,
        errors=errors,
        line_buffering=stream is None or bool(stream.line_buffering),
        write_through=bool(getattr(stream, "write_through", False)),
    )


def _occupy_standard_descriptors() -> None:
    """Open /dev/null where a standard stream was closed (`>&-`), lest the next file opened be printed to."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
