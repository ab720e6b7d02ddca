"""An engine in Python: whole replies of the agent's network, masked by what is sent to another process."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence

import torch

from tests.support.plain_network import plain_logits
from webshop_rl.models.agent import Agent
from webshop_rl.rollout.engines.masks import FollowedMasks, plain_masks, push_reply
from webshop_rl.rollout.episode import Episode
from webshop_rl.rollout.sampler import Batch


class PlainEngine:
    """A Sampler as an inference engine is one; `skew` nats are taken from each log-prob that it tells."""

    exact = False

    def __init__(self, skew: float = 0.0) -> None:
        self._skew = skew
        self.num_asked = 0

    @contextlib.contextmanager
    def playing(
        self, agent: Agent, episodes: Sequence[Episode], *, temperature: float, top_p: float
    ) -> Iterator[Batch]:
        yield _PlainBatch(self, agent, list(episodes), temperature, self._skew)

    def rest(self) -> None:
        pass

    def close(self) -> None:
        pass


class _PlainBatch:
    def __init__(
        self, engine: PlainEngine, agent: Agent, episodes: list[Episode], temperature: float, skew: float
    ) -> None:
        self._engine = engine
        self._agent = agent
        self._episodes = episodes
        self._temperature = temperature
        self._skew = skew

    def advance(self) -> int:
        """A reply, or what could be masked of it, of the first episode that is not finished."""
        episode = next(episode for episode in self._episodes if not episode.finished)
        self._engine.num_asked += 1
        agent = self._agent
        ahead = episode.ahead()
        masks = FollowedMasks(json.loads(json.dumps(plain_masks(ahead, agent.network.vocab_size))))
        generator = torch.Generator().manual_seed(int(episode.uniform() * 2**31))
        tokens: list[int] = []
        logprobs: list[float] = []
        while len(tokens) < ahead.max_tokens and agent.codec.end not in tokens:
            logits = plain_logits(agent.network, [*episode.transcript, *tokens])[-1].float()
            log_p = torch.log_softmax(masks(tokens, logits) / self._temperature, dim=-1)
            token = int(torch.multinomial(log_p.exp(), 1, generator=generator))
            tokens.append(token)
            logprobs.append(float(log_p[token]) - self._skew)
        return push_reply(episode, ahead, tokens, logprobs)
