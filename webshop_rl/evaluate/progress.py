"""What a person sees while an evaluation is played."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

QUIET_S: Final = 15.0  # where there is no bar, a sign of life after so much silence


class EpisodeProgress:
    """A bar over the episodes on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("episodes, {task.fields[turns]} turns"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("playing", total=None, turns=0)

    def __enter__(self) -> EpisodeProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def report(self, ended: int, total: int, turns: int) -> None:
        """Called between decisions, as rollout.Collector does."""
        self._bar.update(self._task, completed=ended, total=total, turns=turns)
        if not self._console.is_terminal and time.monotonic() - self._said > QUIET_S:
            self._said = time.monotonic()
            self._console.print(f"played {ended}/{total} episodes, {turns} turns", highlight=False)
