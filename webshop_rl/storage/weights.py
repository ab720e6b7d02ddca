"""Weights on disk that a run may start from: found by a word, and what their file says of them; no torch.

A run that is finished keeps the weights of its best and of its last update; a checkpoint is complete once it
has the file COMPLETE.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webshop_rl.errors import UserError
from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import Root, RunFolder, SweepFolder

WEIGHTS: Final = "weights.safetensors"
STATE: Final = "state.json"
OPTIMISER: Final = "optimiser.pt"
COMPLETE: Final = "COMPLETE"
_WHERE: Final = "init_from"
_LARGEST_HEADER: Final = 100 << 20


def find_weights(word: str, root: Root, seed: int) -> Path:
    """The file of weights that a run, a sweep, a checkpoint or a folder means.

    Args:
        word: the name of a run of `root` or the beginning of its signature (its best checkpoint by validation
            is meant), the name of a sweep (its run of `seed`), the folder of a run or of a checkpoint, or any
            folder with weights of ours.
        seed: of the run that is to start.
    Raises: UserError if there is none.
    """
    place = Path(word).expanduser()
    if place.is_file():
        return place
    run = RunFolder(place) if place.is_dir() else root.find_run(word) or _of_sweep(root.sweep(word), seed)
    if run is None:
        raise UserError(
            f"no such run, sweep or folder: {word}",
            where=_WHERE,
            remedy="init_from=RUN|SWEEP|CHECKPOINT|FOLDER",
        )
    if (run.path / WEIGHTS).is_file():
        return run.path / WEIGHTS
    whole = {int(path.parent.name[7:]): path.parent for path in run.checkpoints.glob(f"update_*/{COMPLETE}")}
    if not whole:
        raise UserError(
            f"contains no weights: {run.path}",
            where=_WHERE,
            remedy=f"a run with a checkpoint, a checkpoint, or a folder with {WEIGHTS}",
        )
    state = read_json(whole[max(whole)] / STATE) or {}
    return whole.get(state.get("best_update", -1), whole[max(whole)]) / WEIGHTS


def _of_sweep(sweep: SweepFolder, seed: int) -> RunFolder | None:
    """The sweep's run of that seed; None if there is no such sweep."""
    manifest = read_json(sweep.manifest)
    if manifest is None:
        return None
    runs = [sweep.root.run(listed["run"]) for listed in manifest["runs"]]
    found = [run for run in runs if (read_json(run.signature) or {}).get("fields", {}).get("seed") == seed]
    if len(found) != 1:
        names = f" ({', '.join(run.name for run in found[:5])})" if found else ""
        raise UserError(
            f"sweep {sweep.name} has {len(found)} runs of seed={seed}{names}",
            where=_WHERE,
            remedy="init_from=RUN names one",
        )
    return found[0]


@dataclass(frozen=True)
class Header:
    """What a file of weights says of itself.

    Attributes:
        shapes: of the tensors, by name.
        notes: what its writer added, e.g. the digest of the vocabulary.
    """

    shapes: Mapping[str, tuple[int, ...]]
    notes: Mapping[str, str]


def read_header(path: Path) -> Header:
    """The header of a safetensors file. Raises: UserError if it is none."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LARGEST_HEADER:
                raise ValueError("no header")
            header = json.loads(file.read(length))
        notes = header.pop("__metadata__", {})
        return Header({name: tuple(tensor["shape"]) for name, tensor in header.items()}, notes)
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"not a safetensors file: {path}", where=_WHERE) from error
