"""Several ranks training one run, through accelerate: one process a GPU (or CPU task)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh

from webshop_rl.models.network import PolicyNetwork
from webshop_rl.training import sharded
from webshop_rl.training.checkpoint import Checkpoint, trained_tensors
from webshop_rl.training.preemption import Preempted, StopRequest
from webshop_rl.training.ranks import Ranks

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # a rank may play long episodes while others wait for it


class DistributedRanks(Ranks):
    """Data parallel training (DDP); the environment names rank, size and master (see ranks.py).

    Args:
        device: "cpu" trains on gloo, anything else on the GPUs accelerate finds.
    """

    def __init__(self, device: str) -> None:
        waits = InitProcessGroupKwargs(timeout=PATIENCE)
        self._accelerator = Accelerator(cpu=device == "cpu", kwargs_handlers=[waits])
        self.rank = int(self._accelerator.process_index)
        self.size = int(self._accelerator.num_processes)

    def gather(self, share: list[T]) -> list[T]:
        return self._deal_back(self._everyone(share))

    def gather_from(self, work: Callable[[], list[T]]) -> list[T]:
        try:
            outcome: tuple[str, list[T]] = ("", work())
        except Preempted as stop:
            outcome = (str(stop), [])
        shares = self._everyone(outcome)
        reasons = [reason for reason, _ in shares if reason]
        if reasons:
            raise Preempted(reasons[0])
        return self._deal_back([share for _, share in shares])

    def check(self, stop: StopRequest) -> None:
        def asked() -> list[None]:
            stop.check()
            return []

        self.gather_from(asked)

    @staticmethod
    def _deal_back(shares: Sequence[list[T]]) -> list[T]:
        # share() dealt the items out one by one, so they are put back in turns.
        longest = max(len(part) for part in shares)
        return [part[i] for i in range(longest) for part in shares if i < len(part)]

    def largest(self, number: int) -> int:
        return int(max(self._everyone(number)))

    def total(self, numbers: dict[str, float]) -> dict[str, float]:
        parts = self._everyone(numbers)
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: sum(part.get(name, 0.0) for part in parts) for name in names}

    def agree(self, value: T) -> T:
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def prepare(self, network: PolicyNetwork) -> torch.nn.Module:
        wrapped: torch.nn.Module = self._accelerator.prepare_model(network)
        return wrapped

    @contextlib.contextmanager
    def accumulate(self, network: torch.nn.Module, *, last: bool) -> Iterator[None]:
        if last:
            yield
            return
        with self._accelerator.no_sync(network):
            yield

    def close(self) -> None:
        self._accelerator.end_training()
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def _everyone(self, value: Any) -> Sequence[Any]:
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values


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
        checkpoint: Checkpoint,
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
