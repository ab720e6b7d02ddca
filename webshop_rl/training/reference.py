"""The reference policy: the initial weights, kept frozen beside the policy."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import replace

from webshop_rl.models.agent import Agent
from webshop_rl.models.network import PolicyNetwork


class Reference:
    """The initial policy. With adapters it is the same weights with the adapters off; else a copy.

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
