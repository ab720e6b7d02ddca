"""Out of memory: one line with the keys to turn, in collecting as in learning."""

from __future__ import annotations

import pytest
import torch

from tests.support.shop5_parts import build
from webshop_rl.errors import UserError
from webshop_rl.models.memory import memory_advice

CPU_SAYS = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
)
GPU_SAYS = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB"


@pytest.mark.parametrize("error", [RuntimeError(CPU_SAYS), torch.OutOfMemoryError(GPU_SAYS)])
def test_collecting_names_its_keys(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    parts = build()

    def full(**inputs: object) -> None:
        raise error

    monkeypatch.setattr(parts.agent.network, "hidden", full)
    with pytest.raises(UserError, match=r"collecting: out of memory.*rollout\.batch_size") as caught:
        parts.collect(2)
    assert "\n" not in str(caught.value)


def test_another_error_is_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_advice("learning", "nothing"):
        raise RuntimeError("shapes do not fit")
