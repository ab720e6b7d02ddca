"""What is to be evaluated, found by the word the user gave; imports no torch."""

from __future__ import annotations

import difflib
import enum
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from webshop_rl.config.hydra_adapter import CONF
from webshop_rl.envs.scripted import POLICIES
from webshop_rl.errors import UserError
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.weights import COMPLETE

_LISTED: Final = 5


class Kind(enum.StrEnum):
    """What can be evaluated."""

    RUN = "run"  # a trained policy
    MODEL = "model"  # a model of conf/model, as it comes
    FOLDER = "folder"  # a Hugging Face model in a local folder, as it comes
    SCRIPTED = "scripted"  # a scripted policy


@dataclass(frozen=True)
class Target:
    """Something that can be evaluated.

    Attributes:
        name: of the run, model or policy, for people.
        place: folder of a run or model; None for the others.
        update: of the checkpoint that was named; None for the best by validation.
    """

    kind: Kind
    name: str
    place: Path | None = None
    update: int | None = None


def find_target(word: str, root: Path) -> Target:
    """The policy, model, run, checkpoint or folder that a word means, looked for in this order.

    Args:
        word: as typed; a run may be named by the first letters of its signature.
        root: folder of the runs.
    Raises: UserError if there is none, or more than one.
    """
    if word in POLICIES:
        return Target(Kind.SCRIPTED, word)
    if word in model_names():
        return Target(Kind.MODEL, word)
    if Path(word).expanduser().is_dir():
        return _in_folder(Path(word).expanduser().resolve())
    run = Root(root).find_run(word)
    if run is not None:
        return _in_folder(run.path.resolve())
    raise _unknown(word, root, run_names(root))


def model_names() -> list[str]:
    """The models of conf/model."""
    return sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


def run_names(root: Path) -> list[str]:
    """The runs under a root, newest first."""
    return [run.name for run in sorted(Root(root).all_runs(), key=lambda run: -run.path.stat().st_mtime)]


def _in_folder(folder: Path) -> Target:
    run = RunFolder(folder)
    if run.config.is_file() and run.signature.is_file():
        if not any(run.checkpoints.glob(f"update_*/{COMPLETE}")):
            raise UserError(
                "the run has no checkpoint yet",
                where=str(folder),
                remedy="wait for its first, or start it again",
            )
        return Target(Kind.RUN, folder.name, folder)
    number = folder.name.removeprefix("update_")
    owner = RunFolder.of_checkpoint(folder)
    if folder.parent == owner.checkpoints and number.isdigit():
        if not (folder / COMPLETE).is_file():
            raise UserError("half of a checkpoint", where=str(folder), remedy="name another one beside it")
        return replace(_in_folder(owner.path), update=int(number))
    if (folder / "config.json").is_file() or any(folder.glob("*.gguf")):
        return Target(Kind.FOLDER, folder.name, folder)
    raise UserError(
        "contains no run, no checkpoint and no model",
        where=str(folder),
        remedy=f"a run has {run.config.name}, a checkpoint is {run.checkpoints.name}/update_N of one, "
        "a model has config.json",
    )


def _unknown(word: str, root: Path, known: list[str]) -> UserError:
    if "/" in word:
        return UserError("no such folder", where=word, remedy="give a run, a checkpoint, a model or a policy")
    names = [*POLICIES, *model_names()]
    close = difflib.get_close_matches(word, [*known, *names], n=_LISTED, cutoff=0.5)
    if close:
        remedy = f"did you mean {_some(close)}?"
    else:
        there = f"newest runs: {_some(known)}" if known else f"no run is in {Root(root).runs}"
        remedy = f"policies: {_some(list(POLICIES))}; models: {', '.join(model_names())}; {there}"
    return UserError("no such run, model or policy", where=word, remedy=remedy)


def _some(names: list[str]) -> str:
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
