"""The table of a sweep at work: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from webshop_rl.duration import duration
from webshop_rl.launching.cluster.jobs import Jobs
from webshop_rl.launching.runs.observe import observe
from webshop_rl.launching.runs.progress import Progress, last_line, read_progress, time_left_s
from webshop_rl.launching.runs.state import GOING, RunStatus, State, held_by_job
from webshop_rl.storage.folders import RunFolder

_COLOUR = {
    State.FINISHED: "green",
    State.FAILED: "red",
    State.INTERRUPTED: "yellow",
    State.PREEMPTED: "yellow",
    State.RUNNING: "cyan",
}
_ORDER = [
    State.FAILED,
    State.RUNNING,
    State.INTERRUPTED,
    State.PREEMPTED,
    State.QUEUED,
    State.PREPARED,
    State.FINISHED,
]
_PLAIN_EVERY_S = 30.0
# Columns of a terminal below which there is no room for notes beside the numbers.
NARROW = 100


@dataclass(frozen=True)
class RunView:
    """One row: a run as it stands.

    Attributes:
        run: its name.
        label: its overrides.
        place: where it runs or waits: node, job.
        last_line: the last thing it printed, where that was asked for.
    """

    run: str
    label: str
    status: RunStatus
    progress: Progress
    place: str = ""
    last_line: str = ""

    def cells(self) -> tuple[str, ...]:
        """State, update, success, elapsed, time left, note."""
        status, progress = self.status, self.progress
        running = status.state == State.RUNNING
        left = (
            time_left_s(status.elapsed_s, progress.update, status.progress, progress.num_updates)
            if running
            else None
        )
        success = "" if progress.success is None else f"{progress.success:.2f}"
        elapsed = duration(status.total_s) if status.started else ""
        left_text = "" if left is None else duration(left)
        return status.state.value, progress.text, success, elapsed, left_text, status.error or self.last_line


def view_run(root: Path, folder: Path, label: str, jobs: Jobs | None, *, with_log: bool = False) -> RunView:
    """A run as it stands, with the last line of its log if asked for."""
    status = observe(root, folder, jobs) or RunStatus()
    job_id = held_by_job(folder) if status.state in GOING else ""
    place = ""
    if job_id:
        job = None if jobs is None else jobs.get(job_id)
        place = " ".join(word for word in (job_id, job.node or job.reason if job else "") if word)
    line = last_line(RunFolder(folder).log) if with_log and status.state == State.RUNNING else ""
    if line.startswith("update "):
        line = ""  # the columns say the same, of this moment
    return RunView(folder.name, label, status, read_progress(folder), place, line)


def summary(views: Sequence[RunView]) -> str:
    """`4 runs: 2 running, 1 queued, 1 finished`."""
    counts = Counter(view.status.state for view in views)
    parts = ", ".join(f"{counts[state]} {state}" for state in _ORDER if counts[state])
    return f"{len(views)} runs: {parts}"


def render(
    views: Sequence[RunView], *, title: str, max_rows: int | None = None, width: int = NARROW
) -> RenderableType:
    """The table; the least interesting rows are left out beyond max_rows.

    Args:
        views: the runs, in order.
        title: heading.
        max_rows: of the table.
        width: of the terminal; below NARROW columns what is noted of a run stands below the table.
    """
    narrow = width < NARROW
    order = sorted(views, key=lambda v: _ORDER.index(v.status.state))
    shown = views if max_rows is None or len(views) <= max_rows else order[:max_rows]
    table = Table(
        title=Text(title), caption=summary(views), title_justify="left", caption_justify="left", box=None
    )
    places = any(view.place for view in views)
    dropped = {"note"} if narrow else set()
    if not places:
        dropped.add("where")
    for column in ("run", "overrides", "state", "where", "update", "success", "time", "left", "note"):
        if column not in dropped:
            right, foldable = column in ("update", "success"), column in ("overrides", "where", "note")
            justify: JustifyMethod = "right" if right else "left"
            table.add_column(column, overflow="fold", justify=justify, no_wrap=not foldable)
    for view in shown:
        state, *rest, note = view.cells()
        where = [_cut(view.place, narrow)] if places else []
        coloured = Text(state, style=_COLOUR.get(view.status.state, ""))
        notes = [] if narrow else [Text(note)]
        table.add_row(view.run, _cut(view.label, narrow), coloured, *where, *map(Text, rest), *notes)
    below = [Text(f"{v.run}: {v.cells()[-1]}") for v in shown if narrow and v.cells()[-1]]
    return Group(table, *below) if below else table


def _cut(text: str, narrow: bool) -> Text:
    """On a narrow terminal one line with an ellipsis, else as many lines as it takes."""
    return Text(text, no_wrap=True, overflow="ellipsis") if narrow else Text(text)


class SweepTable:
    """Shows the views it is given, until it is left.

    Args:
        title: heading.
        console: where to; on no terminal, one line a change of state, and the running ones now and then.
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.title, self.console = title, console or Console()
        self._live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        self._states: dict[str, State] = {}
        self._next_lines = 0.0
        self._note = ""

    def __enter__(self) -> SweepTable:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, views: Sequence[RunView], note: str = "") -> None:
        """Bring the table up to date."""
        if self._live:
            rows = max(5, self.console.height - 6)
            table = render(views, title=self.title, max_rows=rows, width=self.console.width)
            self._live.update(Group(table, Text(note)) if note else table, refresh=True)
        else:
            self._lines(views)
            if note != self._note:
                self._note = note
                self.console.print(note or "it goes on", highlight=False, markup=False, soft_wrap=True)

    def _lines(self, views: Sequence[RunView]) -> None:
        due = time.monotonic() >= self._next_lines
        for view in views:
            state = view.status.state
            changed = self._states.get(view.run, State.PREPARED) != state
            self._states[view.run] = state
            if changed or (due and state == State.RUNNING):
                words = " ".join(word for word in (view.run, view.label, *_named(view)) if word)
                self.console.print(words, highlight=False, markup=False, soft_wrap=True)
        if due:
            self._next_lines = time.monotonic() + _PLAIN_EVERY_S


def _named(view: RunView) -> list[str]:
    state, update, success, elapsed, left, note = view.cells()
    named = {"update": update, "success": success, "time": elapsed, "left": left, "on": view.place}
    return [
        state,
        *(f"{name} {value}" for name, value in named.items() if value),
        f"({note})" if note else "",
    ]
