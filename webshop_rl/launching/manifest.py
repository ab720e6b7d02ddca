"""What belongs to a sweep: its name, and the runs it lists."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain

from webshop_rl.config.walk import facts_of
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import ComposedRun
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import GOING, read_status

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


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

    def folder(self, root: Root, listed: Listed) -> RunFolder:
        """Where a listed run lives."""
        return root.run(listed.run)


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


def write_manifest(root: Root, name: str, runs: Sequence[Listed], common: Sequence[str]) -> Manifest:
    """Write the manifest; runs that an earlier launch of the sweep listed stay in it."""
    before = read_manifest(root, name)
    listed = {r.signature: r for r in (before.runs if before else ())} | {r.signature: r for r in runs}
    created = before.created if before else time.time()
    manifest = Manifest(name, created, tuple(sys.argv), tuple(common), tuple(listed.values()))
    replace_file(root.sweep(name).manifest, json.dumps(asdict(manifest), indent=1), durable=False)
    return manifest


def read_manifest(root: Root, name: str) -> Manifest | None:
    """A sweep's manifest, or None if there is no such sweep."""
    content = read_json(root.sweep(name).manifest)
    if content is None:
        return None
    runs = tuple(Listed(r["run"], r["signature"], tuple(r["overrides"])) for r in content["runs"])
    command, common = tuple(content["command"]), tuple(content["common"])
    return Manifest(content["name"], content["created"], command, common, runs)


def short_label(own: Sequence[str]) -> str:
    """What tells a run from the others of its sweep, group names left out: "num_heads=4 seed=11".

    Args:
        own: its overrides that the others do not have.
    """
    words = [override.lstrip("+").partition("=") for override in own]
    short = Counter(key.rpartition(".")[2] for key, _, _ in words)
    return " ".join(
        f"{last if short[last := key.rpartition('.')[2]] == 1 else key}={value}" for key, _, value in words
    )


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
