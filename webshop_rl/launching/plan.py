"""What a launch does with each run it is asked for, given what lies under `root` already."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from webshop_rl.algos.config import uses_vstar
from webshop_rl.config.schema import RunConfig
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import ComposedRun
from webshop_rl.launching.continuing import Shorter, hindrance, shorter_signatures
from webshop_rl.launching.signature import acting_signature
from webshop_rl.launching.sweep import Sweep, split_common
from webshop_rl.models.shape import check_fits
from webshop_rl.source import acting_code_digest
from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import GOING, RunStatus, State
from webshop_rl.values.store import ReturnStore

Observe = Callable[[RunFolder], RunStatus | None]


class Action(enum.StrEnum):
    """What a launch does with one run."""

    START = "start"
    RESUME = "resume"
    SKIP = "skip"  # finished: its numbers stand
    KEEP_FAILED = "keep failed"  # failed before, and nobody asked for a retry
    LEAVE = "leave alone"  # another launcher or a Slurm job has it


@dataclass(frozen=True)
class Planned:
    """A run and what is done with it.

    Attributes:
        folder: named by the signature, or `<signature>-r2` for the second rerun beside it.
        status: what is known of it so far.
        shorter: a finished run that it is a longer one of.
    """

    folder: RunFolder
    action: Action
    status: RunStatus | None = None
    shorter: Shorter | None = None

    @property
    def run(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def executes(self) -> bool:
        """Whether this launch is to execute the run."""
        return self.action in (Action.START, Action.RESUME)


@dataclass(frozen=True)
class Entry:
    """One distinct run of a launch: what it is, what is done with it, and the overrides it has alone."""

    composed: ComposedRun
    planned: Planned
    own: tuple[str, ...] = ()

    @property
    def folder(self) -> RunFolder:
        """Where the run lies."""
        return self.planned.folder

    @property
    def label(self) -> str:
        """Its own overrides in one line."""
        return " ".join(self.own)


class CodeChanged(UserError):
    """A run of this signature was made with other code."""


def plan(root: Root, signature: str, *, code: str, config: RunConfig, observe: Observe) -> Planned:
    """Decide about one signature.

    Args:
        root: folder of the runs.
        signature: which run.
        code: digest of the current code.
        config: says what to do with runs that exist: retry, rerun, on_code_change.
        observe: true status of a run's folder, or None if it contains no run.
    Raises: CodeChanged if the run has something to reuse from other code, unless config says how to go on.
    """
    generation = latest_generation(root, signature)
    folder = root.run(run_name(signature, generation))
    name = folder.name
    status = observe(folder)
    if status is None:
        return Planned(folder, Action.START)
    if status.state in GOING:
        return Planned(folder, Action.LEAVE, status)
    if config.rerun and status.state == State.FINISHED:
        return _afresh(root, signature, generation)
    if status.state == State.FAILED and not config.retry:
        return Planned(folder, Action.KEEP_FAILED, status)
    if has_results(folder) and recorded_code(folder) != code:
        if config.on_code_change == "rerun":
            return _afresh(root, signature, generation)
        if config.on_code_change == "refuse":
            raise CodeChanged(
                f"run {name} was made with other code ({recorded_code(folder)}, now {code})",
                where="on_code_change",
                remedy="reuse: trust it | rerun: run it again beside the old",
            )
    if status.state == State.FINISHED:
        return Planned(folder, Action.SKIP, status)
    return Planned(folder, Action.RESUME if status.attempts else Action.START, status)


def plan_launch(sweep: Sweep, runs: Sequence[ComposedRun], observe: Observe) -> list[Entry]:
    """Decide about all runs of a launch; one that stands among them twice is one entry.

    Raises: UserError if a model is larger than this machine that is to run it; CodeChanged as `plan`, with
        one error that counts all runs made with other code, and as `check_reference_returns`.
    """
    distinct = list({run.signature: run for run in runs}.values())
    if sweep.executor == "local":
        for run in distinct:
            check_fits(run.config["model"])
    planned = plan_all(
        sweep.root, [run.signature for run in distinct], code=sweep.code, config=sweep.config, observe=observe
    )
    planned = [_with_shorter(sweep, run, each, observe) for run, each in zip(distinct, planned, strict=True)]
    own = split_common([run.overrides for run in distinct])[1]
    entries = [Entry(*parts) for parts in zip(distinct, planned, own, strict=True)]
    if sweep.config.on_code_change == "refuse":
        check_reference_returns(sweep.root, entries, code=acting_code_digest(sweep.source))
    return entries


def plan_all(
    root: Root, signatures: Sequence[str], *, code: str, config: RunConfig, observe: Observe
) -> list[Planned]:
    """Decide about all; as `plan`, with one error that counts all runs made with other code."""
    planned, changed = [], []
    for signature in signatures:
        try:
            planned.append(plan(root, signature, code=code, config=config, observe=observe))
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


def _with_shorter(sweep: Sweep, run: ComposedRun, planned: Planned, observe: Observe) -> Planned:
    """What is planned for a run, with the longest finished one that it goes on from, if it is new."""
    if planned.status is not None or sweep.config.rerun:
        return planned
    for signature, update in shorter_signatures(run.fields).items():
        folder = latest_folder(sweep.root, signature)
        if not folder.path.is_dir():
            continue
        status = observe(folder)
        same_code = recorded_code(folder) == sweep.code or sweep.config.on_code_change == "reuse"
        if status is not None and status.state == State.FINISHED and same_code:
            return replace(planned, shorter=Shorter(folder, update, hindrance(folder, update, run.fields)))
    return planned


def run_name(signature: str, generation: int) -> str:
    """Name of the first run of a signature, or of its n-th rerun."""
    return f"{signature}-r{generation}" if generation else signature


def latest_generation(root: Root, signature: str) -> int:
    """How often the signature was run afresh; 0 also if it was never run."""
    generation = 0
    while root.run(run_name(signature, generation + 1)).path.is_dir():
        generation += 1
    return generation


def latest_folder(root: Root, signature: str) -> RunFolder:
    """Folder of the newest run of a signature, whether or not there is one."""
    return root.run(run_name(signature, latest_generation(root, signature)))


def has_results(folder: RunFolder) -> bool:
    """Whether numbers or weights of an earlier attempt are there, which another code must not continue."""
    trained = folder.checkpoints.is_dir() and any(folder.checkpoints.iterdir())
    return trained or (folder.journal.exists() and b'"kind":"metrics"' in folder.journal.read_bytes())


def recorded_code(folder: RunFolder) -> str | None:
    """Digest of the code the run was made with."""
    recorded = (read_json(folder.signature) or {}).get("code_digest")
    return None if recorded is None else str(recorded)


def _afresh(root: Root, signature: str, generation: int) -> Planned:
    return Planned(root.run(run_name(signature, generation + 1)), Action.START)


def check_reference_returns(root: Root, entries: Sequence[Entry], *, code: str) -> None:
    """See that V* of these runs has samples of this code or none.

    The store's key names the code, so no sample passes for another code's, whatever is found here. This
    is about cost: sampling again is for the user to decide, before there is any.

    Args:
        root: folder of the runs.
        entries: the runs of a launch.
        code: digest of the code that decides an episode (source.acting_code_digest).
    Raises: CodeChanged.
    """
    store, seen = ReturnStore(root.vstar), set[str]()
    for entry in entries:
        composed = entry.composed
        planned = entry.planned
        configuration = acting_signature(composed.fields)
        if not planned.executes or not uses_vstar(composed.fields) or configuration in seen:
            continue
        if (read_json(planned.folder.vstar) or {}).get("code") == code:
            continue  # goes on with the samples it began with
        seen.add(configuration)
        keys = store.keys_used_by(configuration)
        if keys and not any(key.get("code") == code and "reuses" not in key for key in keys):
            raise CodeChanged(
                f"reference returns of V* were sampled with other code ({keys[-1].get('code')}, now {code})",
                where="on_code_change",
                remedy="reuse: take them over | rerun: sample them again beside the old",
            )
