"""Which runs a report is about: a query over what runs record, and several sweeps side by side.

A query is made of conditions that all have to hold, spelled like overrides of a launch:

    algo=ppo,apo_pg lr<=1e-5 test/success>0.2 sweep=rl_*

KEY is a key of the configuration (`algo` stands for `algo.name`; the end of a dotted key does where no
other key ends so), else `status`, else a metric's last value, else a tag. Operators are = != < <= > >=;
= and != take several values, any of which may be meant, and * in a word. Numbers are compared as numbers. A
run that lacks the key fits no condition.
"""

from __future__ import annotations

import difflib
import fnmatch
import operator
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from webshop_rl.errors import UserError

from .arms import natural
from .comparison import tested_on
from .load import Run, Sweep, load_sweep, load_trained

if TYPE_CHECKING:
    from mlflow import MlflowClient

_CONDITION = re.compile(r"(?P<key>[^<>=!\s]+)(?P<sign>!=|<=|>=|==?|<|>)(?P<value>.+)", re.DOTALL)
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MOST_LISTED = 8
_STATUS = "status"


@dataclass(frozen=True)
class Condition:
    """One condition of a query.

    Attributes:
        key: as written; `known_key` has what it stands for.
        sign: = != < <= > >=.
        values: any of which may be meant.
    """

    key: str
    sign: str
    values: tuple[str, ...]

    def holds(self, value: str | None) -> bool:
        """Whether a run with this value fits; None if it has none."""
        if value is None:
            return False
        if self.sign in _ORDER:
            number = _number(value)
            return number is not None and _ORDER[self.sign](number, float(self.values[0]))
        return any(_same(value, wanted) for wanted in self.values) == (self.sign == "=")


def select(runs: Sequence[Run], query: str) -> list[Run]:
    """The runs that fit every condition, in their order.

    Raises: UserError if the query cannot be read, names a key that no run has, or no run fits.
    """
    fitting = list(runs)
    for condition in parsed(query):
        key = known_key(condition.key, runs)
        values = [_value(run, key) for run in fitting]
        rest = [run for run, value in zip(fitting, values, strict=True) if condition.holds(value)]
        if not rest:
            known = sorted({value for value in values if value is not None}, key=natural)
            listed = ", ".join(known[:_MOST_LISTED]) + (", ..." if len(known) > _MOST_LISTED else "")
            there = f"{key} is {listed or 'not set'}"
            raise UserError(
                "no run fits", where=f"--runs {query}", remedy=f"of the runs that fit the rest, {there}"
            )
        fitting = rest
    return fitting


def parsed(query: str) -> list[Condition]:
    """The conditions of a query. Raises: UserError if one cannot be read."""
    where = f"--runs {query}"
    try:
        words = shlex.split(query)
    except ValueError as error:
        raise UserError("a quote is not closed", where=where) from error
    remedy = "algo=ppo,apo_pg lr<=1e-5 test/success>0.2 sweep=NAME"
    if not words:
        raise UserError("is empty", where="--runs", remedy=remedy)
    found = []
    for word in words:
        match = _CONDITION.fullmatch(word)
        if match is None:
            raise UserError("is no condition", where=f"--runs {word}", remedy=remedy)
        sign = "=" if match["sign"] == "==" else match["sign"]
        values = (match["value"],) if sign in _ORDER else tuple(match["value"].split(","))
        if sign in _ORDER and _number(match["value"]) is None:
            raise UserError(f"{match['value']!r} is no number", where=f"--runs {word}", remedy=f"{sign}0.5")
        found.append(Condition(match["key"], sign, values))
    return found


def known_key(key: str, runs: Iterable[Run]) -> str:
    """What a key of a query stands for. Raises: UserError if no run has it, or it stands for several."""
    params = dict.fromkeys(name for run in runs for name in run.params)
    others = dict.fromkeys(name for run in runs for name in (*run.metrics, *run.tags))
    for name in (key, f"{key}.name"):
        if name in params:
            return name
    if key == _STATUS or key in others:
        return key
    ends = [name for name in params if name.endswith(f".{key}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise UserError(f"{key!r} may be {' or '.join(ends[:_MOST_LISTED])}", where="--runs")
    spelled = [_STATUS, *(name.removesuffix(".name") for name in params), *others]
    close = difflib.get_close_matches(key, spelled, n=3, cutoff=0.6)
    remedy = f"did you mean {' or '.join(close)}?" if close else "docs/analysis.md says what can be named"
    raise UserError(f"no run has {key!r}", where="--runs", remedy=remedy)


def load_chosen(
    client: MlflowClient, uri: str, names: Sequence[str], query: str | None, *, root: Path | None
) -> Sweep:
    """What `--sweep` and `--runs` name: sweeps side by side, or the runs of them that fit a query.

    Args:
        client: from tracker.open_tracker.
        uri: its address.
        names: of sweeps; none is the newest, or with a query every run of the tracker.
        root: folder of the runs, whose sweeps/ lists what was planned; else the tracker is asked.
    Raises: UserError if there is no such sweep, no run fits, or two sweeps cannot be compared.
    """
    if query is not None and not names:
        found = load_trained(client, uri)
    else:
        each = dict.fromkeys(names) or {None: None}
        found = combined([load_sweep(client, uri, name, root=root) for name in each])
    if query is None:
        return found
    return replace(found, runs=select(found.runs, query), parent_id="")


def combined(sweeps: Sequence[Sweep]) -> Sweep:
    """Several sweeps as one: the arms of each stay apart, a run that several contain is the first one's.

    Raises: UserError if two of them have no test set in common.
    """
    first, *others = sweeps
    if not others:
        return first
    _refuse_different(sweeps)
    runs: dict[str, Run] = {}
    for sweep in sweeps:
        for run in sweep.runs:
            runs.setdefault(run.run_id, replace(run, sweep=sweep.name))
    unrecorded: Counter[str] = Counter()
    arms_to_come: Counter[str] = Counter()
    for sweep in sweeps:
        unrecorded.update(sweep.unrecorded)
        arms_to_come.update(sweep.arms_to_come)
    return Sweep(
        name="+".join(sweep.name for sweep in sweeps),
        uri=first.uri,
        status=first.status,
        runs=list(runs.values()),
        replaced=[run for sweep in sweeps for run in sweep.replaced if run.run_id not in runs],
        unrecorded=dict(unrecorded),
        to_come=sum(sweep.to_come for sweep in sweeps),
        arms_to_come=dict(arms_to_come),
        commands={name: command for sweep in sweeps for name, command in sweep.commands.items()},
    )


def _refuse_different(sweeps: Sequence[Sweep]) -> None:
    """One line where sweeps were tested on different episodes, with what differs."""
    tested = {sweep.name: {tested_on(run) for run in sweep.runs if run.finished} for sweep in sweeps}
    known = {name: keys for name, keys in tested.items() if keys}
    for name, keys in known.items():
        apart = [other for other, theirs in known.items() if not keys & theirs]
        if apart:
            ours, theirs = dict(sorted(keys)[0]), dict(sorted(known[apart[0]])[0])
            differing = [
                f"{key} {value or '?'} and {theirs[key] or '?'}"
                for key, value in ours.items()
                if value != theirs[key]
            ]
            raise UserError(
                f"were tested on different episodes: {', '.join(differing)}",
                where=f"sweeps {name} and {apart[0]}",
                remedy="a report for each",
            )


def _value(run: Run, key: str) -> str | None:
    if key in run.params:
        return run.params[key]
    if key == _STATUS:
        return run.status
    return str(run.metrics[key]) if key in run.metrics else run.tags.get(key)


def _same(value: str, wanted: str) -> bool:
    a, b = _number(value), _number(wanted)
    if a is not None and b is not None:
        return a == b
    return fnmatch.fnmatchcase(value.lower(), wanted.lower())


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
