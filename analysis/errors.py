"""The one error a user of a report is meant to read."""

from __future__ import annotations

EXIT_BAD_INPUT = 2


class ReportError(Exception):
    """Bad input that the user can mend; shown as one line, the process exits with code 2.

    Args:
        what: what is wrong, in a few words.
        where: the file, option or address that holds it.
        remedy: what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        line = f"{where}: {what}" if where else what
        super().__init__(" ".join(f"{line} ({remedy})".split() if remedy else line.split()))
