"""The reference policy: the initial weights, or those of its last reset, kept frozen beside the policy."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from webshop_rl.models.agent import Agent
from webshop_rl.models.network import PolicyNetwork


class Reference:
    """The initial policy, or what it was last reset to.

    With adapters it is the same weights with the adapters off, and stays so; else a copy.

    Args:
        agent: the policy, before any checkpoint is loaded into it.
    """

    def __init__(self, agent: Agent) -> None:
        self._policy = agent
        if agent.has_adapters:
            self._copy = None
        else:
            self._copy = copy.deepcopy(agent.network).requires_grad_(False).eval()

    @contextlib.contextmanager
    def active(self) -> Iterator[PolicyNetwork]:
        """Within: the network of the reference policy, in evaluation mode."""
        if self._copy is not None:
            yield self._copy
            return
        with self._policy.adapters_off():
            was_training = self._policy.network.training
            self._policy.network.eval()
            yield self._policy.network
            self._policy.network.train(was_training)

    @contextlib.contextmanager
    def agent(self) -> Iterator[Agent]:
        """Within: the reference policy as an agent that can be collected from."""
        with self.active() as network:
            yield replace(self._policy, network=network)

    def reset(self) -> None:
        """Become the policy as it is now."""
        self.load(dict(self._policy.network.named_parameters()))

    def state(self) -> dict[str, Tensor]:
        """The weights, for a checkpoint to write at once; shared ones once, and none copied on the CPU."""
        return {name: p.detach().cpu().contiguous() for name, p in self._own().named_parameters()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Become what `state` gave."""
        with torch.no_grad():
            for name, parameter in self._own().named_parameters():
                parameter.copy_(weights[name])

    def digest(self) -> str:
        """Of the weights: the same digest, the same reference policy."""
        found = hashlib.sha256()
        for name, tensor in sorted(self.state().items()):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        return found.hexdigest()[:16]

    def _own(self) -> PolicyNetwork:
        assert self._copy is not None, "adapters have no weights of a reference to set"
        return self._copy
