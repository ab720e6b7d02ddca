"""The one error a user is meant to read: what is wrong, where, and the remedy."""

from __future__ import annotations

EXIT_BAD_INPUT = 2


class UserError(Exception):
    """Bad input that the user can mend; shown as one line, the process exits with code 2.

    Args:
        what: what is wrong, in a few words.
        where: the file, record, key or option that holds it.
        remedy: what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        parts = [f"{where}: {what}" if where else what]
        if remedy:
            parts.append(f"({remedy})")
        super().__init__(" ".join(" ".join(parts).split()))

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries by pickle; keyword-only arguments need help there.
        return (_rebuild, (self.what, self.where, self.remedy))


def _rebuild(what: str, where: str, remedy: str) -> UserError:
    return UserError(what, where=where, remedy=remedy)
