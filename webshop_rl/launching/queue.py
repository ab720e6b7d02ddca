"""What executes prepared runs, wherever that is."""

from __future__ import annotations

from typing import Protocol

# A look at a thousand runs takes its time: between two, this many times that.
LOOK_SHARE = 9.0


class Queue(Protocol):
    """Executes prepared runs somewhere."""

    @property
    def done(self) -> bool:
        """Whether none of its runs executes or waits."""

    def tick(self) -> None:
        """Look at the runs once, and do what is due."""

    @property
    def note(self) -> str:
        """What keeps it from going on, in one line; "" for nothing."""

    def stop(self) -> None:
        """Start nothing more, and ask what runs to save itself and end."""

    def kill(self) -> None:
        """End what runs at once."""
