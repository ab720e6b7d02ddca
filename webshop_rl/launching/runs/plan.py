"""What a launch does with each run it is asked for, given what lies under `root` already."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from webshop_rl.errors import UserError
from webshop_rl.launching.runs.state import GOING, RunStatus, State
from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import Root, RunFolder

Observe = Callable[[Path], RunStatus | None]


class Action(enum.StrEnum):
    """What becomes of one run."""

    START = "start"
    RESUME = "resume"
    SKIP = "skip"  # finished: its numbers stand
    KEEP_FAILED = "keep failed"  # failed before, and nobody asked for a retry
    LEAVE = "leave alone"  # another launcher or a Slurm job has it


@dataclass(frozen=True)
class Wishes:
    """What the user said about runs that exist: the keys retry, rerun and on_code_change."""

    retry: bool = False
    rerun: bool = False
    on_code_change: str = "refuse"


@dataclass(frozen=True)
class Planned:
    """A run and what is done with it.

    Attributes:
        run: its name: the signature, or `<signature>-r2` for the second rerun beside it.
        folder: where it lives.
        status: what is known of it so far.
    """

    run: str
    folder: Path
    action: Action
    status: RunStatus | None = None

    @property
    def executes(self) -> bool:
        """Whether this launch is to execute the run."""
        return self.action in (Action.START, Action.RESUME)


class CodeChanged(UserError):
    """A run of this signature was made with other code."""


def plan(root: Path, signature: str, *, code: str, wishes: Wishes, observe: Observe) -> Planned:
    """Decide about one signature.

    Args:
        root: folder of the runs.
        signature: which run.
        code: digest of the code at hand.
        wishes: what to do with runs that exist.
        observe: true status of a run's folder, or None if it holds no run.
    Raises: CodeChanged if the run has something to reuse from other code, unless wishes say how to go on.
    """
    generation = latest_generation(root, signature)
    name = run_name(signature, generation)
    folder = Root(root).runs / name
    status = observe(folder)
    if status is None:
        return Planned(name, folder, Action.START)
    if status.state in GOING:
        return Planned(name, folder, Action.LEAVE, status)
    if wishes.rerun and status.state == State.FINISHED:
        return _afresh(root, signature, generation)
    if status.state == State.FAILED and not wishes.retry:
        return Planned(name, folder, Action.KEEP_FAILED, status)
    if has_results(folder) and recorded_code(folder) != code:
        if wishes.on_code_change == "rerun":
            return _afresh(root, signature, generation)
        if wishes.on_code_change == "refuse":
            raise CodeChanged(
                f"run {name} was made with other code ({recorded_code(folder)}, now {code})",
                where="on_code_change",
                remedy="reuse: trust it | rerun: run it again beside the old",
            )
    if status.state == State.FINISHED:
        return Planned(name, folder, Action.SKIP, status)
    return Planned(name, folder, Action.RESUME if status.attempts else Action.START, status)


def plan_all(
    root: Path, signatures: Sequence[str], *, code: str, wishes: Wishes, observe: Observe
) -> list[Planned]:
    """Decide about all; as `plan`, with one error that counts all runs made with other code."""
    planned, changed = [], []
    for signature in signatures:
        try:
            planned.append(plan(root, signature, code=code, wishes=wishes, observe=observe))
        except CodeChanged as error:
            changed.append(error)
    if len(changed) > 1:
        first = changed[0]
        raise CodeChanged(
            f"{first.what}, and {len(changed) - 1} more", where=first.where, remedy=first.remedy
        )
    if changed:
        raise changed[0]
    return planned


def run_name(signature: str, generation: int) -> str:
    """Name of the first run of a signature, or of its n-th rerun."""
    return f"{signature}-r{generation}" if generation else signature


def latest_generation(root: Path, signature: str) -> int:
    """How often the signature was run afresh; 0 also if it was never run."""
    generation = 0
    while (Root(root).runs / run_name(signature, generation + 1)).is_dir():
        generation += 1
    return generation


def latest_folder(root: Path, signature: str) -> Path:
    """Folder of the newest run of a signature, whether or not there is one."""
    return Root(root).runs / run_name(signature, latest_generation(root, signature))


def has_results(folder: Path) -> bool:
    """Whether numbers or weights of an earlier attempt are there, which another code must not continue."""
    checkpoints = RunFolder(folder).checkpoints
    return (checkpoints.is_dir() and any(checkpoints.iterdir())) or b'"kind":"metrics"' in _content(
        RunFolder(folder).journal
    )


def recorded_code(folder: Path) -> str | None:
    """Digest of the code the run was made with."""
    recorded = (read_json(RunFolder(folder).signature) or {}).get("code_digest")
    return None if recorded is None else str(recorded)


def _afresh(root: Path, signature: str, generation: int) -> Planned:
    name = run_name(signature, generation + 1)
    return Planned(name, Root(root).runs / name, Action.START)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
