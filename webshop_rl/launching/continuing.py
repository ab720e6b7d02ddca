"""A longer run that begins where a shorter one, the same otherwise, has ended.

Everything that an update draws is a function of seed and update, so a run of 120 updates is one of 60
and 60 more, to the last bit, unless something in it depends on its length. Where that holds the longer run
takes over the weights, the optimiser's state and the record of the shorter one; its name is what it would
be anyway.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from webshop_rl.algos.config import uses_vstar
from webshop_rl.launching.signature import Scalar, signature_of
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.weights import COMPLETE, OPTIMISER


@dataclass(frozen=True)
class Shorter:
    """A finished run that differs in its number of updates alone.

    Attributes:
        folder: of the run.
        update: that it ended at.
        hindrance: why a longer one is not a continuation of it; "" if it is.
    """

    folder: RunFolder
    update: int
    hindrance: str = ""

    def describe(self) -> str:
        """What becomes of it, in a line for people."""
        named = f"run {self.folder.name} of {self.update} updates"
        if self.hindrance:
            return f"starts at update 0: {named} is not continued, {self.hindrance}"
        return f"goes on from {named} (rerun=true starts at update 0)"


def shorter_signatures(fields: Mapping[str, Scalar]) -> dict[str, int]:
    """Signatures of the runs that `fields` could be a continuation of, with their updates, longest first.

    A run is evaluated at its end. Where that is no boundary of `evaluation.every`, the longer one would not
    have been evaluated there, and might choose another checkpoint.
    """
    number = fields.get("num_updates")
    every = fields.get("evaluation.every")
    if not isinstance(number, int) or not isinstance(every, int) or fields.get("num_episodes") is not None:
        return {}
    collection = _number(fields, "algo.num_epochs") * _number(fields, "algo.num_minibatches")
    ends = (n for n in range((number - 1) // every * every, 0, -every) if n % collection == 0)
    return {signature_of({**fields, "num_updates": n}): n for n in ends}


def depends_on_length(fields: Mapping[str, Scalar]) -> str:
    """The key that makes the first updates of a run depend on how many follow; "" if none does."""
    if fields.get("optim.schedule") != "constant":
        return f"optim.schedule={fields.get('optim.schedule')}"
    if uses_vstar(fields) and fields.get("vstar.adaptive"):
        return "vstar.adaptive=true"
    if fields.get("algo.student_share"):
        return f"algo.student_share={fields['algo.student_share']}"
    return ""


def hindrance(run: RunFolder, update: int, fields: Mapping[str, Scalar]) -> str:
    """Why a longer run cannot begin where a finished one has ended; "" if it can."""
    key = depends_on_length(fields)
    if key:
        return f"with {key} its updates depend on how many there are"
    digests = read_json(_checkpoint(run, update) / COMPLETE)
    if digests is None:
        return "its last checkpoint is gone"
    if OPTIMISER not in digests:
        return "its optimiser's state was not kept (checkpoint.keep_optimiser_gb)"
    return ""


def take_over(run: RunFolder, shorter: Shorter) -> None:
    """Put into a new run's folder what it goes on with; killed in between, calling it again is enough."""
    old = shorter.folder
    for source in (old.vstar, old.initial, old.threads, old.episodes("untrained")):
        if source.is_file():
            _link(source, run.path / source.relative_to(old.path))
    for checkpoint in sorted(old.checkpoints.glob(f"update_*/{COMPLETE}")):
        # COMPLETE comes last: without it a checkpoint is none.
        files = sorted(checkpoint.parent.iterdir(), key=lambda path: path.name == COMPLETE)
        for source in files:
            _link(source, run.path / source.relative_to(old.path))
    note = {"run": old.name, "update": shorter.update}
    replace_file(run.continues, json.dumps(note), durable=False)


def _link(source: Path, target: Path) -> None:
    """The same file under another name; files of a run are replaced, never written into."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _checkpoint(run: RunFolder, update: int) -> Path:
    return run.checkpoints / f"update_{update:06d}"


def _number(fields: Mapping[str, Scalar], key: str) -> int:
    return int(fields.get(key) or 1)
