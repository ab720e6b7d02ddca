"""Ranks that each train a shard of the weights (FSDP)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh

from webshop_rl.distributed import sharded
from webshop_rl.distributed.ddp import DistributedRanks
from webshop_rl.distributed.ranks import Saved, trained_tensors
from webshop_rl.models.network import PolicyNetwork


class ShardedRanks(DistributedRanks):
    """Weights, gradients and optimiser state of learning are shared out over the ranks (FSDP).

    Sampling and scoring use a whole copy in each rank (see sharded.py).
    """

    def prepare(self, network: PolicyNetwork) -> torch.nn.Module:
        with torch.no_grad():
            for parameter in network.parameters():
                distributed.broadcast(parameter, src=0)  # as DDP does: the same start in every rank
        mesh = init_device_mesh(self._accelerator.device.type, (self.size,))
        return sharded.sharded_copy(network, mesh)

    def publish(self, wrapped: torch.nn.Module, network: PolicyNetwork) -> None:
        sharded.publish(wrapped, network)

    @contextlib.contextmanager
    def accumulate(self, network: torch.nn.Module, *, last: bool) -> Iterator[None]:
        # Gradients meet at every micro-batch: kept back, they would be whole in every rank.
        yield

    def full_state(
        self, wrapped: torch.nn.Module, network: torch.nn.Module, optimiser: torch.optim.Optimizer
    ) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        state = sharded.whole_state(optimiser.state_dict(), keep=self.is_main)
        return (trained_tensors(network), state) if self.is_main else ({}, {})

    def load(
        self,
        checkpoint: Saved,
        wrapped: torch.nn.Module,
        network: torch.nn.Module,
        optimiser: torch.optim.Optimizer | None,
    ) -> None:
        checkpoint.load(network)
        sharded.adopt(wrapped, network)
        state = None if optimiser is None else checkpoint.optimiser_state(mapped=True)
        if optimiser is not None and state is not None:
            optimiser.load_state_dict(sharded.sharded_state(state, optimiser))

    def clip_grad_norm(self, network: torch.nn.Module, largest: float) -> float:
        # Summed in the same order everywhere: all ranks find the same norm, so all step or none.
        norm = math.sqrt(self.total({"squares": sharded.grad_norm_squares(network)})["squares"])
        sharded.scale_grads(network, min(1.0, largest / (norm + 1e-6)))
        return norm
