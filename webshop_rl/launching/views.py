"""What is shown of runs: a table while they execute, the comparison at the end, a run's log."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from webshop_rl.config.walk import seed_keys
from webshop_rl.duration import duration, time_left_s
from webshop_rl.errors import UserError
from webshop_rl.launching.progress import (
    Progress,
    last_line,
    read_ending,
    read_progress,
    read_result,
)
from webshop_rl.launching.reconcile import observe
from webshop_rl.launching.slurm.jobs import Jobs, job_id_of, submitted_job
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.run_status import GOING, RunStatus, State
from webshop_rl.tracking.names import EVALUATIONS

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
_TRAINED = "test"


@dataclass(frozen=True)
class RunView:
    """One row: a run as it stands.

    Attributes:
        folder: of the run.
        label: its overrides.
        place: where it runs or waits: node, job.
        last_line: the last thing it printed, where that was asked for.
        ending: of a finished run, how training went where it did not go well.
    """

    folder: RunFolder
    label: str
    status: RunStatus
    progress: Progress
    place: str = ""
    last_line: str = ""
    ending: str = ""

    @property
    def note(self) -> str:
        """The error of a run that has one, or what is noted of its end."""
        return self.status.error or self.ending

    @property
    def run(self) -> str:
        """The run's name."""
        return self.folder.name

    def cells(self) -> tuple[str, ...]:
        """State, update, success, elapsed, time left, note."""
        status = self.status
        progress = self.progress
        running = status.state == State.RUNNING
        left = (
            time_left_s(status.elapsed_s, progress.update, status.progress, progress.num_updates)
            if running
            else None
        )
        success = "" if progress.success is None else f"{progress.success:.2f}"
        elapsed = duration(status.total_s) if status.started else ""
        left_text = "" if left is None else duration(left)
        return status.state.value, progress.text, success, elapsed, left_text, self.note or self.last_line


def view_run(run: RunFolder, label: str, jobs: Jobs | None, *, with_log: bool = False) -> RunView:
    """A run as it stands, with the last line of its log if asked for."""
    status = observe(run, jobs) or RunStatus()
    job_id = job_id_of(run) if status.state in GOING else ""
    job = None if jobs is None or not job_id else jobs.get(job_id)
    place = " ".join(word for word in (job_id, job.node or job.reason if job else "") if word)
    line = last_line(run.log) if with_log and status.state == State.RUNNING else ""
    if line.startswith("update "):
        line = ""  # the columns say the same, of this moment
    ending = read_ending(run) if status.state == State.FINISHED else ""
    return RunView(run, label, status, read_progress(run), place, line, ending)


def counted(number: int, thing: str, several: str = "") -> str:
    """`1 run`, `2 runs`.

    Args:
        several: the plural, where it is not thing and an s.
    """
    return f"{number} {thing if number == 1 else several or thing + 's'}"


def summary(views: Sequence[RunView]) -> str:
    """`4 runs: 2 running, 1 queued, 1 finished`."""
    counts = Counter(view.status.state for view in views)
    parts = ", ".join(f"{counts[state]} {state}" for state in _ORDER if counts[state])
    return f"{counted(len(views), 'run')}: {parts}"


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
        self.title = title
        self.console = console or Console()
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


def compare(views: Sequence[RunView], *, title: str, width: int = NARROW) -> Table:
    """Success and score of every run on the test goals, means of arms, then what they are to be measured by.

    A baseline that is the same for all runs gets one row; one that differs (other goals, another
    untrained model) gets a row for each value, which says by what override.

    Args:
        views: the runs, in order.
        title: heading.
        width: of the terminal; below NARROW columns notes are left to the lines below the table.
    """
    narrow = width < NARROW
    results = [read_result(view.folder) for view in views]
    table = Table(title=Text(title), title_justify="left", caption_justify="left", box=None)
    columns = ("", "state", "test success", "test score", "time", *(() if narrow else ("note",)))
    for column in columns:
        right = column.startswith("test")
        table.add_column(column, overflow="fold", justify="right" if right else "left", no_wrap=right)
    for view, result in zip(views, results, strict=True):
        state = view.status.state
        style = {State.FINISHED: "green", State.FAILED: "red"}.get(state, "yellow")
        time = duration(view.status.total_s) if view.status.started else ""
        numbers = success_and_score(result) if state == State.FINISHED else ("-", "-")
        note = () if narrow else (Text(view.note),)
        table.add_row(Text(view.label or view.run), Text(state.value, style=style), *numbers, time, *note)
    for arm, means in _means(views, results):
        table.add_row(Text(arm), "", *map(Text, means), style="bold")
        table.caption = Text("means over seeds, with 95 % intervals over seeds")
    for baseline in baselines([view.label for view in views], results):
        table.add_row(baseline[0], "", *baseline[1:], style="dim")
    return table


def baselines(
    labels: Sequence[str], results: Sequence[Mapping[str, float]]
) -> Iterator[tuple[str, str, str]]:
    """(name, success, score) of each policy that was not trained, once where it is the same for all runs.

    Where it is not, the name says by which override: `baseline/rule env=stage2`.

    Args:
        labels: what each run has of overrides that others do not, in one line.
        results: of each run.
    """
    for name in EVALUATIONS:
        if name in (_TRAINED, "val"):
            continue
        words: dict[tuple[str, str], list[list[str]]] = {}
        for label, result in zip(labels, results, strict=True):
            if f"{name}/success" in result:
                words.setdefault(success_and_score(result, name), []).append(label.split())
        known_by = _distinguishing(list(words.values()))
        yield from ((f"{name} {by}".strip(), *numbers) for numbers, by in zip(words, known_by, strict=True))


def _distinguishing(sets: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    """What distinguishes each set of runs from the others: one override if that suffices, the shop's first.

    Args:
        sets: overrides of each run of each set.
    """
    if len(sets) < 2:
        return [""] * len(sets)
    values = [[dict(w.lstrip("+").split("=", 1) for w in run if "=" in w) for run in runs] for runs in sets]
    keys = dict.fromkeys(key for runs in values for run in runs for key in run)
    for key in sorted(keys, key=lambda k: (k in seed_keys(), k.partition(".")[0] != "env")):
        of_sets = [dict.fromkeys(run.get(key) for run in runs) for runs in values]
        distinct = {value for of_set in of_sets for value in of_set}
        if None not in distinct and len(distinct) == sum(map(len, of_sets)):
            return [f"{key}={','.join(map(str, of_set))}" for of_set in of_sets]
    shared = [[word for word in runs[0] if all(word in run for run in runs)] for runs in sets]
    return [" ".join(words) for words in shared]


def _means(
    views: Sequence[RunView], results: Sequence[Mapping[str, float]]
) -> Iterator[tuple[str, list[str]]]:
    """Of each arm with several finished seeds: mean success and score, each with its interval over seeds."""
    from webshop_rl.statistics import interval, mean, over_seeds  # numpy, which no launch waits for

    arms: dict[str, list[Mapping[str, float]]] = {}
    for view, result in zip(views, results, strict=True):
        if view.status.state == State.FINISHED and f"{_TRAINED}/score" in result:
            words = [w for w in view.label.split() if w.lstrip("+").partition("=")[0] not in seed_keys()]
            arms.setdefault(" ".join(words), []).append(result)
    for arm, found in arms.items():
        if len(found) > 1:
            measured = [[r[f"{_TRAINED}/{name}"] for r in found] for name in ("success", "score")]
            yield f"{arm} mean of {len(found)}".strip(), [interval(over_seeds(mean, m)) for m in measured]


def success_and_score(result: Mapping[str, float], policy: str = _TRAINED) -> tuple[str, str]:
    """What a policy reached in the evaluation of a run; "-" for what is missing."""
    success, score = result.get(f"{policy}/success"), result.get(f"{policy}/score")
    return ("-" if success is None else f"{success:.3f}", "-" if score is None else f"{score:.3f}")


def print_log(run: RunFolder, *, follow: bool) -> None:
    """Print a run's log, and with follow what comes until the run has ended.

    Of a run whose job failed before it could begin, what the job printed on stderr.
    """
    path = run.log
    if not path.exists() and (job := submitted_job(run)) is not None and job.stderr.is_file():
        path = job.stderr
    if not path.exists() and not follow:
        raise UserError("has printed nothing yet", where=str(path), remedy="--follow waits for it")
    position = 0
    while True:
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                file.seek(position)
                shutil.copyfileobj(file, sys.stdout)
                position = file.tell()
            sys.stdout.flush()
        status = observe(run)
        if not follow or (status is not None and status.state not in GOING):
            return
        time.sleep(1.0)
