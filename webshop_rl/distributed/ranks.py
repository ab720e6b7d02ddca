"""The ranks of a run, processes that train it together; one rank is the common case.

Each rank collects and learns a share of the trajectories; what an algorithm needs of the whole
batch is gathered. Losses are divided by the sizes of the whole batch (algos.algorithm.Norm), so the
gradient is the same however the batch is shared.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch

from webshop_rl.models.network import PolicyNetwork
from webshop_rl.preemption import StopRequest

T = TypeVar("T")


class Saved(Protocol):
    """A saved state that a run goes on from (training.checkpoint)."""

    def load(self, network: torch.nn.Module, optimiser: torch.optim.Optimizer | None = None) -> None:
        """Put the weights back, and the optimiser's state if it was saved."""
        ...

    def optimiser_state(self, *, mapped: bool = False) -> dict[str, Any] | None:
        """The optimiser's whole state, on the CPU; None if it was not saved.

        Args:
            mapped: tensors are read from the disk as they are looked at; copy what is to be kept.
        """
        ...


def trained_tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that training changes; shared ones once."""
    return {n: p.detach().cpu().contiguous() for n, p in network.named_parameters() if p.requires_grad}


class Ranks:
    """A run of one rank; and the interface of several."""

    rank = 0
    size = 1

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This rank's share of a list, every size-th item."""
        return list(items[self.rank :: self.size])

    def gather(self, share: list[T]) -> list[T]:
        """The whole list from every rank's share, in the order `share` took it apart."""
        return share

    def gather_from(self, work: Callable[[], list[T]]) -> list[T]:
        """`gather` of what work gives in every rank; the work may be asked to stop.

        Raises: Preempted, in every rank and at this same point, if it was raised in one of them: a
            signal need not reach all, and none is left waiting for another.
        """
        return self.gather(work())

    def check(self, stop: StopRequest) -> None:
        """Raises: Preempted in every rank if one of them was asked to stop."""
        stop.check()

    def largest(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        return number

    def total(self, numbers: dict[str, float]) -> dict[str, float]:
        """Sum of each number over the ranks."""
        return numbers

    def agree(self, value: T) -> T:
        """Rank 0's value, in every rank."""
        return value

    def prepare(self, network: PolicyNetwork) -> torch.nn.Module:
        """The network as it must be called in learning; its parameters are what the optimiser steps on."""
        return network

    def publish(self, wrapped: torch.nn.Module, network: PolicyNetwork) -> None:
        """After a step: the new weights into the network that samples; every rank must call it."""

    @contextlib.contextmanager
    def accumulate(self, network: torch.nn.Module, *, last: bool) -> Iterator[None]:
        """Around each micro-batch; gradients need to meet only at the last."""
        yield

    def full_state(
        self, wrapped: torch.nn.Module, network: torch.nn.Module, optimiser: torch.optim.Optimizer
    ) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Weights that training changes, and the optimiser's state, whole; every rank must call it.

        Returns: both as a single rank has them, on rank 0; empty on the others.
        """
        return (trained_tensors(network), optimiser.state_dict()) if self.is_main else ({}, {})

    def load(
        self,
        checkpoint: Saved,
        wrapped: torch.nn.Module,
        network: torch.nn.Module,
        optimiser: torch.optim.Optimizer | None,
    ) -> None:
        """Put a checkpoint back; every rank must call it."""
        checkpoint.load(network, optimiser)

    def clip_grad_norm(self, network: torch.nn.Module, largest: float) -> float:
        """Clip the global gradient norm; the norm before clipping."""
        trained = [p for p in network.parameters() if p.grad is not None]
        return float(torch.nn.utils.clip_grad_norm_(trained, largest))

    def close(self) -> None:
        """Leave the others."""


def join_ranks(strategy: str = "ddp", device: str = "cpu") -> Ranks:
    """The ranks of the run that this process belongs to, by the environment its launcher set (WORLD_SIZE).

    Args:
        strategy: "ddp": each rank trains a whole copy | "fsdp": each trains a shard.
        device: "cpu" trains on gloo, anything else on the GPUs accelerate finds.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from webshop_rl.distributed.ddp import DistributedRanks
        from webshop_rl.distributed.fsdp import ShardedRanks

        return ShardedRanks(device) if strategy == "fsdp" else DistributedRanks(device)
    return Ranks()
