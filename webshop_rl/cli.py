"""What every command does with an error: one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import errno
import functools
import shutil
import sys
from collections.abc import Callable, Iterator

from webshop_rl.errors import EXIT_BAD_INPUT, UserError
from webshop_rl.screen import keep_screen

EXIT_INTERRUPTED = 130

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Libraries that write files themselves raise errors of their own kinds.
_NO_SPACE_TEXTS = ("No space left on device", "Disk quota exceeded", "database or disk is full")


def command(main: Callable[..., int]) -> Callable[..., int]:
    """Decorate a command's main function: an error of `one_line_errors` is the exit code it returns."""

    @functools.wraps(main)
    def reported(*args: object, **kwargs: object) -> int:
        try:
            with one_line_errors():
                return main(*args, **kwargs)
        except SystemExit as ended:
            if ended.code in (EXIT_BAD_INPUT, EXIT_INTERRUPTED) and ended.__cause__ is not None:
                return int(ended.code)
            raise

    return reported


def invocation() -> str:
    """How the one command is written here, for a line that a person copies."""
    return "webshop-rl" if shutil.which("webshop-rl") else "python -m webshop_rl"


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Within, what a user can mend ends the process with one line and exit code 2; Ctrl-C with 130.

    From here on a screen that is gone fails nothing, see keep_screen.
    Raises: SystemExit in the place of UserError, KeyboardInterrupt and a full disk.
    """
    keep_screen()
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT) from error
    except KeyboardInterrupt as stopped:
        print("stopped", file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from stopped
    except Exception as error:
        full = disk_full(error)
        if full is None:
            raise
        print(f"error: {full}", file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT) from error


def disk_full(error: BaseException) -> UserError | None:
    """The same as one line, if the error is that nothing more can be written; None for other errors."""
    cause: BaseException | None = error
    while cause is not None:
        if (isinstance(cause, OSError) and cause.errno in _NO_SPACE) or any(
            text in str(cause) for text in _NO_SPACE_TEXTS
        ):
            where = str(getattr(cause, "filename", None) or "disk")
            return UserError(
                "no space left to write", where=where, remedy="make room; the same command goes on"
            )
        cause = cause.__cause__ or cause.__context__
    return None
