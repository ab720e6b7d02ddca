"""The processes that train one run together; one process is the common case.

Each process collects and learns a share of the trajectories; what an algorithm needs of the whole
batch is gathered. Losses are divided by the sizes of the whole batch (algos.batch.Norm), so the
gradient is the same however the batch is shared.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch

from webshop_rl.training.checkpoint import Checkpoint, trained_tensors

T = TypeVar("T")


class Processes:
    """A single process; the interface of a group."""

    rank = 0
    size = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's share of a list, every size-th item."""
        return list(items[self.rank :: self.size])

    def gather(self, share: list[T]) -> list[T]:
        """The whole list from every process's share, in the order `share` took it apart."""
        return share

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers."""
        return number

    def total(self, numbers: dict[str, float]) -> dict[str, float]:
        """Sum of each number over the processes."""
        return numbers

    def agree(self, value: T) -> T:
        """The main process's value, in every process."""
        return value

    def prepare(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network as it must be called in learning."""
        return network

    @contextlib.contextmanager
    def accumulate(self, network: torch.nn.Module, *, last: bool) -> Iterator[None]:
        """Around each micro-batch; gradients need to meet only at the last."""
        yield

    def full_state(
        self, wrapped: torch.nn.Module, network: torch.nn.Module, optimiser: torch.optim.Optimizer
    ) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Weights that training changes, and the optimiser's state, whole; every process must call it."""
        return trained_tensors(network), optimiser.state_dict()

    def load(
        self,
        checkpoint: Checkpoint,
        wrapped: torch.nn.Module,
        network: torch.nn.Module,
        optimiser: torch.optim.Optimizer | None,
    ) -> None:
        """Put a checkpoint back; every process must call it."""
        checkpoint.load(network, optimiser)

    def clip_grad_norm(self, network: torch.nn.Module, largest: float) -> float:
        """Clip the global gradient norm; the norm before clipping."""
        trained = [p for p in network.parameters() if p.grad is not None]
        return float(torch.nn.utils.clip_grad_norm_(trained, largest))

    def close(self) -> None:
        """Leave the group."""


def processes(strategy: str = "ddp", device: str = "cpu") -> Processes:
    """The group this process belongs to, by the environment its launcher set (WORLD_SIZE)."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from webshop_rl.training.distributed import ProcessGroup

        return ProcessGroup(strategy, device)
    return Processes()
