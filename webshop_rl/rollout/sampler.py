"""Who says what comes next: the seam between episodes and what samples their replies.

The collector gives the episodes of a batch to a Sampler and lets it advance them until all are finished; it
knows nothing of networks, caches or engines. NativeSampler decodes with the very network that learns, one
token a forward pass; rollout/engines/ has what decodes elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol

from webshop_rl.models.agent import Agent
from webshop_rl.models.memory import memory_advice
from webshop_rl.models.sampling import choose
from webshop_rl.rollout.episode import Episode
from webshop_rl.rollout.shared_cache import SharedCache

_MEMORY_REMEDY = "turn down rollout.batch_size or model.context_tokens, or use model.dtype=bfloat16"


class Batch(Protocol):
    """Episodes that are being played together."""

    def advance(self) -> int:
        """Give tokens to some of the episodes that are not finished, to one at least.

        Returns: decisions made, tokens with an alternative.
        """
        ...


class Sampler(Protocol):
    """Samples the replies of episodes."""

    @property
    def exact(self) -> bool:
        """Whether its log-probs are the learner's to rounding, and a resumed run samples the same."""
        ...

    def playing(
        self, agent: Agent, episodes: Sequence[Episode], *, temperature: float, top_p: float
    ) -> contextlib.AbstractContextManager[Batch]:
        """Within: a batch of episodes at their beginning; left early, they are abandoned.

        Args:
            agent: who plays, with the weights that it has now.
            temperature: 0 is greedy.
            top_p: see models.sampling.choose.
        """
        ...

    def rest(self) -> None:
        """Give up what is needed while sampling alone: a collection is over."""
        ...

    def close(self) -> None:
        """Give back what it holds beyond the agent; it samples no more."""
        ...


class NativeSampler:
    """Samples with the agent's own network: one forward pass a decision for all that have one to make.

    Episodes still inside a reply go first; when all wait at a page, their pages are read together.
    A finished episode leaves the batch at once, the key-value cache is kept across turns, and what
    several transcripts have in common is read once.
    """

    exact: ClassVar[bool] = True

    @contextlib.contextmanager
    def playing(
        self, agent: Agent, episodes: Sequence[Episode], *, temperature: float, top_p: float
    ) -> Iterator[Batch]:
        """Within: the network is in evaluation mode."""
        network = agent.network
        was_training = network.training
        network.eval()
        try:
            yield _NativeBatch(agent, episodes, temperature, top_p)
        finally:
            network.train(was_training)

    def rest(self) -> None:
        """Its cache went with the batch."""

    def close(self) -> None:
        """There is nothing to give back."""


class _NativeBatch:
    """A batch with its key-value cache."""

    def __init__(self, agent: Agent, episodes: Sequence[Episode], temperature: float, top_p: float) -> None:
        self._live = [episode for episode in episodes if not episode.finished]
        self._cache = SharedCache(agent.network, len(self._live))
        self._pad = agent.codec.pad
        self._temperature = temperature
        self._top_p = top_p

    def advance(self) -> int:
        """One forward pass and one sampled token for every episode whose turn it is."""
        live = self._live
        replying = [i for i, episode in enumerate(live) if not episode.at_page]
        chosen = replying or list(range(len(live)))
        pieces: list[list[int]] = [[] for _ in live]
        for i in chosen:
            if live[i].restarted:
                self._cache.forget(i)
                live[i].restarted = False
            pieces[i], live[i].pending = live[i].pending, []
        with memory_advice("collecting", _MEMORY_REMEDY):
            self._cache.feed(pieces, self._pad)
            logits = self._cache.logits(chosen)
        masks = [live[i].mask() for i in chosen]
        uniforms = [live[i].uniform() for i in chosen]
        tokens, logprobs, masks = choose(
            logits, masks, uniforms, temperature=self._temperature, top_p=self._top_p
        )
        for i, token, logprob, mask in zip(chosen, tokens, logprobs, masks, strict=True):
            live[i].push(token, logprob, mask)
        self._drop_finished()
        return len(chosen)

    def _drop_finished(self) -> None:
        staying = [i for i, episode in enumerate(self._live) if not episode.finished]
        if len(staying) < len(self._live):
            self._live = [self._live[i] for i in staying]
            self._cache.keep(staying)
