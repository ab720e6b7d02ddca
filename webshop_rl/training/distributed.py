"""Several processes training one run, through accelerate: one process a GPU (or CPU task)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import distributed

from webshop_rl.errors import UserError
from webshop_rl.training.processes import Processes

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # a rank may play long episodes while others wait for it


class ProcessGroup(Processes):
    """Data parallel training (DDP); the environment names rank, size and master (see processes.py).

    Args:
        strategy: "ddp".
        device: "cpu" trains on gloo, anything else on the GPUs accelerate finds.
    """

    def __init__(self, strategy: str, device: str) -> None:
        if strategy != "ddp":
            raise UserError(f"{strategy} is not built yet", where="hardware.strategy", remedy="use ddp")
        waits = InitProcessGroupKwargs(timeout=PATIENCE)
        self._accelerator = Accelerator(cpu=device == "cpu", kwargs_handlers=[waits])
        self.rank = int(self._accelerator.process_index)
        self.size = int(self._accelerator.num_processes)

    def gather(self, share: list[T]) -> list[T]:
        shares: list[list[T]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(shares, share)
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

    def prepare(self, network: torch.nn.Module) -> torch.nn.Module:
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
