"""What a person sees of a run: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from webshop_rl.duration import duration, time_left_s
from webshop_rl.screen import table_width

QUIET_S = 30.0  # where there is no bar, a sign of life after so much silence


class _Note(ProgressColumn):
    """What follows the bar; cut where the terminal ends, so that the counter before it stays whole."""

    def render(self, task: Task) -> Text:
        """The note of the task."""
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


class RunDisplay:
    """Progress of one run.

    Args:
        title: what is being run, in a few words.
        num_updates: length of the run.
        silent: print nothing (a process that is not the main one).
    """

    def __init__(self, title: str, num_updates: int, *, silent: bool = False) -> None:
        self.console = Console(quiet=silent, soft_wrap=True, width=table_width())
        self._title = title
        self._num_updates = num_updates
        self._latest: dict[str, float] = {}
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._update = 0
        self._said = time.monotonic()
        self._phase = ""
        self._first: tuple[int, float] | None = None  # update and moment of this attempt's first report

    def __enter__(self) -> RunDisplay:
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("update {task.completed}/{task.total}"),
                BarColumn(bar_width=8, table_column=Column(no_wrap=True)),
                _Note(),
                console=self.console,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._num_updates, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """A line for people, above the bar if there is one."""
        self.console.print(line, highlight=False, markup=False)
        self._said = time.monotonic()

    def update(self, update: int, metrics: Mapping[str, float]) -> None:
        """Called after each update and each evaluation."""
        self._latest.update(metrics)
        self._update = update
        self._first = self._first or (update, time.monotonic())
        self._phase = ""
        note = self._note()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=update, note=self._note(left_first=True))
        if "val/success" in metrics or (self._bar is None and self._silent()):
            self.say(f"update {update}/{self._num_updates}  {note}")

    def phase(self, what: str, detail: str = "") -> None:
        """What is done from now on until the next update, besides training; the detail is said once."""
        self.say(f"{what} {detail}".rstrip())
        self._phase = what

    def playing(self, ended: int, total: int, turns: int) -> None:
        """Called between decisions of a collection."""
        playing = f"playing: {turns} turns, {ended}/{total} episodes ended"
        if self._phase:
            playing = f"{self._phase}: {ended}/{total} episodes ended"
        if self._bar is not None and self._task is not None:
            # A line has no room for both; before the first measurement there is only this.
            self._bar.update(
                self._task, note=playing if self._phase else self._note(left_first=True) or playing
            )
        elif self._silent():
            self.say(f"update {self._update}/{self._num_updates}  {self._note(playing)}")

    def _silent(self) -> bool:
        return time.monotonic() - self._said > QUIET_S

    def _note(self, now: str = "", *, left_first: bool = False) -> str:
        """What was measured last, the time left at the pace of this attempt, and what is done now."""
        parts = []
        for split in ("train", "val"):
            if f"{split}/success" in self._latest:
                success, score = self._latest[f"{split}/success"], self._latest[f"{split}/score"]
                parts.append(f"{split} success {success:.2f} score {score:.2f}")
        if self._first is not None:
            first, began = self._first
            left_s = time_left_s(time.monotonic() - began, self._update, first, self._num_updates)
            if left_s is not None:
                parts.insert(0 if left_first else len(parts), f"{duration(left_s)} left")
        return "  ".join([*parts, now] if now else parts)
