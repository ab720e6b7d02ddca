"""Ranks that each train a whole copy (DDP), through accelerate: one process a GPU (or CPU task)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import distributed

from webshop_rl.distributed.ranks import Ranks
from webshop_rl.models.network import PolicyNetwork
from webshop_rl.preemption import Preempted, StopRequest

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # a rank may play long episodes while others wait for it


class DistributedRanks(Ranks):
    """Data parallel training (DDP); the environment names rank, size and master (see join_ranks).

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
