"""What a sweep was to execute: its manifest, beside what MLflow has recorded."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webshop_rl.config.walk import seed_keys
from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import Root, SweepFolder

from .tracker import read_artifact

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Planned:
    """One run that a sweep lists.

    Attributes:
        run: name of its folder.
        overrides: what distinguishes it from the others of the sweep, as typed.
        failed: whether it failed, by its own folder.
    """

    run: str
    signature: str
    overrides: tuple[str, ...]
    failed: bool = False

    @property
    def arm(self) -> str:
        """Its overrides without seeds."""
        return " ".join(o for o in self.overrides if o.lstrip("+").partition("=")[0] not in seed_keys())


@dataclass(frozen=True)
class Plan:
    """What a sweep's manifest says.

    Attributes:
        command: by which it was launched last, as a shell takes it; "" where that is not recorded.
    """

    runs: Sequence[Planned]
    command: str = ""


@dataclass(frozen=True)
class Missing:
    """Runs of a sweep that MLflow does not have.

    Attributes:
        failed: how many failed before they were recorded.
        to_come: how many have not started.
        arms_to_come: of arms without any recorded run, by their overrides: how many have not started.
        beside: by signature of each recorded run: how many of its arm have not started.
    """

    failed: int = 0
    to_come: int = 0
    arms_to_come: Mapping[str, int] = field(default_factory=dict)
    beside: Mapping[str, int] = field(default_factory=dict)


def read_plan(client: MlflowClient, parent: Any, sweep: str, root: Path | None) -> Plan | None:
    """What a sweep's manifest says; None if neither the root nor the tracker has it.

    Args:
        client: from tracker.open_tracker.
        parent: the sweep's parent run.
        root: folder of the runs, None to ask the tracker.
    """
    path = None if root is None else Root(root).sweep(sweep).manifest
    if path is not None and path.is_file():
        text: str | None = path.read_text(encoding="utf-8")
    else:
        text = read_artifact(client, parent, SweepFolder(Path(sweep)).manifest.name)
    try:
        manifest = json.loads(text or "")
        runs = [
            Planned(r["run"], r["signature"], tuple(r["overrides"]), _failed(root, r["run"]))
            for r in manifest["runs"]
        ]
        return Plan(runs, as_typed(manifest.get("command", ())))
    except (ValueError, KeyError, TypeError):
        return None


def missing(plan: Sequence[Planned], recorded: Iterable[str]) -> Missing:
    """What of a plan is not recorded.

    Args:
        recorded: signatures of the runs that MLflow has.
    """
    known = set(recorded)
    absent = [planned for planned in plan if planned.signature not in known]
    waiting = [planned for planned in absent if not planned.failed]
    begun = {planned.signature: planned.arm for planned in plan if planned.signature in known}
    by_arm = Counter(planned.arm for planned in waiting)
    arms = {arm: num for arm, num in by_arm.items() if arm not in begun.values()}
    beside = {signature: by_arm[arm] for signature, arm in begun.items() if by_arm[arm]}
    return Missing(len(absent) - len(waiting), len(waiting), arms, beside)


def as_typed(words: Sequence[str]) -> str:
    """A command as a person types it, from the words that its process had; "" without any."""
    if not words:
        return ""
    program, *rest = words
    name = program.rpartition("/")[2]
    if name == "webshop-rl sweep" and rest[:1] == ["-m"]:
        rest = rest[1:]  # which the command adds itself
    return " ".join([f"python {name}" if name.endswith(".py") else name, *map(shlex.quote, rest)])


def recorded_command(tag: str) -> str:
    """The same from the tag of a parent run; "" where it was cut."""
    try:
        return as_typed(shlex.split(tag))
    except ValueError:
        return ""


def _failed(root: Path | None, run: str) -> bool:
    status = None if root is None else read_json(Root(root).run(run).status)
    return status is not None and status.get("state") == "failed"
