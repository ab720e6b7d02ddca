"""Out of memory: one line with the keys to turn. What was freed is given back."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tests.support.shop5_parts import build
from webshop_rl.errors import UserError
from webshop_rl.models.memory import FreedMemory, memory_advice, release_freed

CPU_SAYS = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
)
GPU_SAYS = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB"


@pytest.mark.parametrize("error", [RuntimeError(CPU_SAYS), torch.OutOfMemoryError(GPU_SAYS)])
def test_collecting_names_its_keys(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    parts = build()

    def full(*given: object, **inputs: object) -> None:
        raise error

    monkeypatch.setattr(parts.agent.network.causal_lm.get_decoder(), "forward", full)
    with pytest.raises(UserError, match=r"collecting: out of memory.*rollout\.batch_size") as caught:
        parts.collect(2)
    assert "\n" not in str(caught.value)


def test_another_error_is_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_advice("learning", "nothing"):
        raise RuntimeError("shapes do not fit")


# In a process of its own: which blocks glibc maps, and what is free, depends on all that came before.
GIVES_BACK = """
import torch
from webshop_rl.models.memory import FreedMemory, resident_bytes

# Freed blocks of this size are the last that glibc maps: smaller ones live in the heap from here on.
large = torch.empty(31 * 2**18)
del large
freed = FreedMemory()

def use(num_blocks):
    pairs = [(torch.ones(2**18), torch.ones(2**8)) for _ in range(num_blocks)]  # 1 MB and 1 kB in turns
    return [kept for _, kept in pairs]

def given_back():
    before = resident_bytes()
    freed.release()
    return (before - resident_bytes()) / 2**20

kept = use(300)
assert given_back() > 200
more = use(80)
assert given_back() < 8  # little is kept for what comes next
assert all(float(block.sum()) == 2**8 for block in kept + more)
"""


@pytest.mark.skipif(not release_freed(), reason="the C library is not glibc")
def test_what_lies_between_blocks_in_use_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", GIVES_BACK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_memory_is_given_back_around_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = build("rollout.batch_size=2")
    asked: list[None] = []
    monkeypatch.setattr(FreedMemory, "release", lambda self: asked.append(None))
    parts.collect(1)
    assert len(asked) == 1 + 1
    parts.collect(5)
    assert len(asked) == 2 + 3 + 1  # before each batch, and after the last
