"""A run of one rank, the interface that several share."""

from __future__ import annotations

from torch import nn

from webshop_rl.distributed.ranks import trained_tensors


def test_only_what_is_trained_is_kept() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    next(network.parameters()).requires_grad_(False)
    assert list(trained_tensors(network)) == ["0.bias", "1.weight", "1.bias"]
