"""Checkpoints on disk: written whole or not at all, the last good one never lost.

    checkpoints/update_000040/  weights.safetensors  optimiser.pt  state.json   (COMPLETE: digests)
                                reference.safetensors, where the reference policy is reset now and then

A checkpoint is written beside its place, flushed to the disk, and renamed into it; only then is an
older one deleted. What a kill leaves half-written has no valid COMPLETE file and is swept away.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from webshop_rl.storage.files import replace_file, sync
from webshop_rl.storage.weights import COMPLETE, OPTIMISER, STATE, WEIGHTS

REFERENCE = "reference.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    update: int

    def state(self) -> dict[str, Any]:
        """What the run wrote beside the weights."""
        loaded: dict[str, Any] = json.loads((self.path / STATE).read_text())
        return loaded

    @property
    def optimiser_bytes(self) -> int:
        """Size of the optimiser's state on disk; 0 if it was dropped."""
        path = self.path / OPTIMISER
        return path.stat().st_size if path.exists() else 0

    def load(self, network: nn.Module, optimiser: torch.optim.Optimizer | None = None) -> None:
        """Put the weights back, and the optimiser's state unless the run was finished and dropped it."""
        tensors = load_file(self.path / WEIGHTS)
        missing, unexpected = network.load_state_dict(tensors, strict=False)
        trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        untied = [name for name in missing if name in trained]
        if unexpected or untied:
            raise ValueError(f"{self.path}: weights do not fit: {sorted([*unexpected, *untied])[:3]}")
        state = None if optimiser is None else self.optimiser_state()
        if optimiser is not None and state is not None:
            optimiser.load_state_dict(state)

    def reference(self) -> dict[str, Tensor]:
        """The reference policy's weights; a run that resets it saves them."""
        return load_file(self.path / REFERENCE)

    def optimiser_state(self, *, mapped: bool = False) -> dict[str, Any] | None:
        """The optimiser's whole state, on the CPU wherever it was written; None if the run dropped it.

        Args:
            mapped: tensors are read from the disk as they are looked at; copy what is to be kept.
        """
        path = self.path / OPTIMISER
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        return state


def write_checkpoint(
    folder: Path,
    update: int,
    weights: Mapping[str, Tensor],
    optimiser_state: Mapping[str, Any] | None,
    state: Mapping[str, Any],
    notes: Mapping[str, str] | None = None,
    reference: Mapping[str, Tensor] | None = None,
) -> Checkpoint:
    """Write one checkpoint durably.

    Args:
        folder: the run's checkpoints folder.
        update: updates done.
        weights: tensors by name.
        optimiser_state: as `state_dict` gives it, or None to leave it out.
        state: JSON-able, what else resuming needs.
        notes: what the file of weights says of them.
        reference: weights of the reference policy, or None to leave them out.
    """
    target = folder / f"update_{update:06d}"
    partial = folder / f".partial_{update:06d}_{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / STATE).write_text(json.dumps(dict(state), indent=1))
    save_file(dict(weights), partial / WEIGHTS, metadata=dict(notes or {}))
    if reference is not None:
        save_file(dict(reference), partial / REFERENCE)
    # safetensors writes for the owner alone, whatever the umask.
    for path in partial.glob("*.safetensors"):
        shutil.copymode(partial / STATE, path)
    if optimiser_state is not None:
        torch.save(optimiser_state, partial / OPTIMISER)
    digests = {path.name: _digest(path) for path in sorted(partial.iterdir())}
    for name in digests:
        sync(partial / name)
    (partial / COMPLETE).write_text(json.dumps(digests))
    sync(partial / COMPLETE)
    sync(partial)
    if target.exists():
        if is_complete(target):
            shutil.rmtree(partial)
            return Checkpoint(target, update)
        shutil.rmtree(target)
    partial.rename(target)
    sync(folder)
    return Checkpoint(target, update)


def is_complete(path: Path) -> bool:
    """Whether every file is there with the content it was written with."""
    try:
        digests: dict[str, str] = json.loads((path / COMPLETE).read_text())
        return all(_digest(path / name) == digest for name, digest in digests.items())
    except (OSError, ValueError):
        return False


def find_checkpoints(folder: Path) -> list[Checkpoint]:
    """Complete checkpoints, oldest first."""
    found = [
        Checkpoint(path, int(path.name.removeprefix("update_")))
        for path in folder.glob("update_*")
        if is_complete(path)
    ]
    return sorted(found, key=lambda checkpoint: checkpoint.update)


def sweep_away(folder: Path, keep: set[int]) -> None:
    """Delete half-written checkpoints and those of other updates than `keep`."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        number = path.name.removeprefix("update_")
        if path.name.startswith(".partial_") or (number.isdigit() and int(number) not in keep):
            shutil.rmtree(path, ignore_errors=True)


def drop_optimiser(checkpoint: Checkpoint) -> None:
    """Delete optimiser state and reference policy from a finished run's checkpoint; the rest stays whole."""
    digests: dict[str, str] = json.loads((checkpoint.path / COMPLETE).read_text())
    kept = {name: digest for name, digest in digests.items() if name not in (OPTIMISER, REFERENCE)}
    if kept != digests:
        replace_file(checkpoint.path / COMPLETE, json.dumps(kept))
    for name in (OPTIMISER, REFERENCE):
        (checkpoint.path / name).unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()[:32]
