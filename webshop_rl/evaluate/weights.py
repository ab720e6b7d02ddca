"""The weights that a word means: a run's checkpoint, and its way into an agent."""

from __future__ import annotations

from webshop_rl.errors import UserError
from webshop_rl.evaluate.target import Kind, Target
from webshop_rl.models.agent import Agent
from webshop_rl.storage.folders import RunFolder
from webshop_rl.training.checkpoint import Checkpoint, find_checkpoints


def load_weights(checkpoint: Checkpoint, agent: Agent) -> None:
    """Put a checkpoint into an agent. Raises: UserError if it does not fit."""
    try:
        checkpoint.load(agent.network)
    except (ValueError, RuntimeError) as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"the weights do not fit: {said[-1]}",
            where=str(checkpoint.path),
            remedy="leave out the overrides of model.* and env.*, or name the run's data",
        ) from error


def checkpoint_of(target: Target) -> Checkpoint | None:
    """The checkpoint of a run that is meant: the one named, or the best by validation so far."""
    if target.kind is not Kind.RUN:
        return None
    assert target.place is not None
    found = {c.update: c for c in find_checkpoints(RunFolder(target.place).checkpoints)}
    update = target.update
    if update is None and found:
        update = int(found[max(found)].state()["best_update"])
    if update not in found:
        there = ", ".join(map(str, sorted(found))) or "none"
        raise UserError(
            "the checkpoint is gone or damaged", where=str(target.place), remedy=f"whole are: {there}"
        )
    return found[update]
