"""A sweep: what its runs share, who executes them, its name, and the manifest that lists them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from webshop_rl.config.groups import HardwareConfig, SweepConfig
from webshop_rl.config.load import as_typed
from webshop_rl.config.schema import RunConfig
from webshop_rl.config.walk import facts_of, walk
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import ComposedRun
from webshop_rl.launching.slurm.jobs import minutes
from webshop_rl.source import SOURCE, code_digest
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import GOING, read_status
from webshop_rl.tracking.config import Destination

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Sweep:
    """What the runs of a sweep share.

    Attributes:
        name: of the sweep, and of its folder.
        config: of any of its runs; what is read of it is the same for all.
        executor: "local" or "slurm".
        source: where the code lies that executes the runs; a copy of it is frozen.
    """

    name: str
    config: RunConfig
    tracking: Destination
    executor: str
    source: Path = SOURCE

    @property
    def root(self) -> Root:
        """The folder of `root=`, absolute."""
        return Root(Path(self.config.root))

    @property
    def code(self) -> str:
        """Digest of the code that executes the runs."""
        return code_digest(self.source)


def sweep_of(runs: Sequence[ComposedRun], name: str = "") -> Sweep:
    """The sweep that these runs make.

    Args:
        runs: at least one.
        name: where the configuration gives none; by default it comes from the runs.
    Raises: UserError if they differ in what a sweep's runs share, or it cannot be executed here.
    """
    shared = _one_a_sweep(runs[0])
    for run in runs[1:]:
        if differing := sorted(_one_a_sweep(run) ^ shared):
            key = differing[0][0]
            raise UserError("cannot be swept over", where=key, remedy=facts_of(key).one_a_sweep)
    config = as_typed(runs[0].config)
    executor = resolve_executor(config.hardware, config.sweep)
    check_request(config.hardware, executor)
    return Sweep(
        name=check_name(config.sweep.name or name or sweep_name(runs)),
        config=config,
        tracking=Destination.of(config),
        executor=executor,
    )


def _one_a_sweep(run: ComposedRun) -> set[tuple[str, str]]:
    """Keys in which the runs of a sweep may not differ, with their values."""
    return {(key.name, repr(key.value)) for key in walk(run.config) if key.facts.one_a_sweep}


def resolve_executor(hardware: HardwareConfig, sweep: SweepConfig) -> str:
    """ "local" or "slurm".

    Raises: UserError if Slurm is asked for and not there, or sweep.wait does not fit the executor.
    """
    found = shutil.which("sbatch") is not None
    if hardware.executor == "slurm" and not found:
        raise UserError(
            "there is no sbatch on this machine", where="hardware.executor", remedy="hardware=cpu or gpu"
        )
    chosen = "slurm" if hardware.executor == "slurm" or (hardware.executor == "auto" and found) else "local"
    if chosen == "local" and not sweep.wait:
        raise UserError(
            "local runs end with their launcher", where="sweep.wait", remedy="sweep.wait=true, or Slurm"
        )
    return chosen


def check_request(hardware: HardwareConfig, executor: str) -> None:
    """See that the keys in Slurm's notation can be read, and that the executor can give what they ask for.

    Args:
        executor: "local" or "slurm".
    Raises: UserError naming the first key that is wrong.
    """
    slurm = hardware.slurm
    minutes(slurm.time)
    if slurm.mem is not None and not re.fullmatch(r"\d+[KMGT]?B?", slurm.mem.strip(), re.IGNORECASE):
        raise UserError(
            f"{slurm.mem!r} is not an amount of memory", where="hardware.slurm.mem", remedy="e.g. 8G"
        )
    for key, asked in (("nodes", slurm.nodes), ("tasks_per_node", slurm.tasks_per_node)):
        if executor == "local" and asked > 1:
            raise UserError(
                f"{asked} asked for, but a local run is one process",
                where=f"hardware.slurm.{key}",
                remedy=f"hardware.slurm.{key}=1, or Slurm",
            )


def sweep_name(runs: Sequence[ComposedRun]) -> str:
    """The same for the same runs: the keys in which they differ (or the experiment) and a hash.

    What leaves the signature of every run alone leaves the name alone.
    """
    overrides = [[o.lstrip("+~").partition("=") for o in run.overrides] for run in runs]
    values: dict[str, set[str]] = {}
    for key, _, value in sorted(chain.from_iterable(overrides)):
        if facts_of(key).affects_result:
            values.setdefault(key, set()).add(value)
    study = sorted(values.get("experiment", set()) - {"null"})
    swept = dict.fromkeys(key.rpartition(".")[2] for key, given in values.items() if len(given) > 1)
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(study or swept) or "sweep")
    signatures = sorted({run.signature for run in runs})
    digest = hashlib.sha256("\n".join(signatures).encode()).hexdigest()[:8]
    return f"{words[:40].strip('-')}-{digest}"


def check_name(name: str) -> str:
    """The name, if it can be a folder's. Raises: UserError."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot be a name", where="sweep.name", remedy="letters, digits, . _ - only"
        )
    return name


def split_common(overrides: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(what all runs share, what is left of each)."""
    shared = set(overrides[0]).intersection(*overrides[1:]) if len(overrides) > 1 else set()
    common = tuple(o for o in overrides[0] if o in shared)
    return common, [tuple(o for o in run if o not in shared) for run in overrides]


def short_label(own: Sequence[str]) -> str:
    """What distinguishes a run from the others of its sweep, group names left out: "num_heads=4 seed=11".

    Args:
        own: its overrides that the others do not have.
    """
    words = [override.lstrip("+").partition("=") for override in own]
    short = Counter(key.rpartition(".")[2] for key, _, _ in words)
    return " ".join(
        f"{last if short[last := key.rpartition('.')[2]] == 1 else key}={value}" for key, _, value in words
    )


@dataclass(frozen=True)
class Listed:
    """One run of a sweep.

    Attributes:
        run: its name, also of its folder.
        overrides: what makes it differ from the others, as typed.
    """

    run: str
    signature: str
    overrides: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its overrides in one line."""
        return " ".join(self.overrides)


@dataclass(frozen=True)
class Manifest:
    """A sweep as sweeps/<name>/manifest.json records it.

    Attributes:
        name: of the sweep; "" for runs that belong to none.
        created: seconds since 1970.
        common: overrides that all its runs share.
        runs: in the order of the grid; a signature stands once.
    """

    name: str
    created: float
    command: tuple[str, ...]
    common: tuple[str, ...]
    runs: tuple[Listed, ...]


def write_manifest(root: Root, name: str, runs: Sequence[Listed], common: Sequence[str]) -> Manifest:
    """Write the manifest; runs that an earlier launch of the sweep listed stay in it.

    Not so those that never began and are listed anew under another signature, as newer code gives them.
    """
    before = read_manifest(root, name)
    listed = {r.signature: r for r in runs}
    if before:
        anew = {frozenset((*common, *r.overrides)) for r in runs}
        stay = {
            r.signature: r
            for r in before.runs
            if r.signature in listed
            or frozenset((*before.common, *r.overrides)) not in anew
            or _begun(root, r)
        }
        listed = stay | listed
    created = before.created if before else time.time()
    manifest = Manifest(name, created, tuple(sys.argv), tuple(common), tuple(listed.values()))
    replace_file(root.sweep(name).manifest, json.dumps(asdict(manifest), indent=1), durable=False)
    return manifest


def _begun(root: Root, listed: Listed) -> bool:
    """Whether a run has ever started, or waits in a queue."""
    status = read_status(root.run(listed.run))
    return status is not None and (status.attempts > 0 or status.state in GOING)


def read_manifest(root: Root, name: str) -> Manifest | None:
    """A sweep's manifest, or None if there is no such sweep. Raises: UserError if other code wrote it."""
    place = root.sweep(name).manifest
    content = read_json(place)
    if content is None:
        return None
    try:
        runs = tuple(Listed(r["run"], r["signature"], tuple(r["overrides"])) for r in content["runs"])
        command, common = tuple(content["command"]), tuple(content["common"])
        return Manifest(content["name"], content["created"], command, common, runs)
    except (KeyError, TypeError) as error:
        remedy = "use the code it was made with"
        raise UserError("the sweep was made by other code", where=str(place), remedy=remedy) from error


def list_sweeps(root: Root) -> list[Manifest]:
    """All sweeps under a root, the newest last."""
    names = [sweep.name for sweep in root.all_sweeps()]
    found = [m for m in (read_manifest(root, name) for name in names) if m is not None]
    return sorted(found, key=lambda m: m.created)


def single_runs(root: Root, *, recent: int = 10) -> Manifest | None:
    """The runs under a root that are in no sweep: those going and the newest others; None without any.

    Args:
        root: folder of the runs.
        recent: how many of those that are not going.
    """
    listed = {run.run for manifest in list_sweeps(root) for run in manifest.runs}
    found = sorted(
        (status.queued, run.name, status.state in GOING)
        for run in root.all_runs()
        if run.name not in listed and (status := read_status(run)) is not None
    )
    if not found:
        return None
    newest = [name for _, name, going in found if not going][-recent:]
    chosen = [root.run(name) for _, name, going in found if going or name in newest]
    return Manifest("", found[-1][0], (), (), tuple(map(listed_run, chosen)))


def listed_run(run: RunFolder) -> Listed:
    """A run by its folder."""
    identity = read_json(run.signature) or {}
    overrides = tuple(identity.get("overrides", ()))
    return Listed(run.name, str(identity.get("signature", run.name)), overrides)
