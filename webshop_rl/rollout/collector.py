"""Plays episodes in batches; what is said in them a Sampler chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from webshop_rl.config.schema import RolloutConfig
from webshop_rl.envs.types import Shop
from webshop_rl.interface.prompts import Prompter
from webshop_rl.models.agent import Agent
from webshop_rl.models.memory import FreedMemory
from webshop_rl.rollout.episode import Episode, EpisodeSpec, Teacher
from webshop_rl.rollout.sampler import Batch, Sampler
from webshop_rl.rollout.types import Trajectory


class Collector:
    """Collects trajectories of an agent in a shop.

    Args:
        agent: the policy, which plays unless `collect` is given another; read anew at each call, so training
            it changes what is collected.
        shop: where it shops.
        prompter: pages to tokens.
        rollout: how replies are decoded, and how many episodes together.
        sampler: chooses the tokens of the replies.
        keep_last_page: see Episode.
        interrupted: asked between decisions; may raise to abandon the collection.
        report: called between decisions with episodes ended, episodes in all, and turns so far.
    """

    def __init__(
        self,
        agent: Agent,
        shop: Shop,
        prompter: Prompter,
        rollout: RolloutConfig,
        sampler: Sampler,
        *,
        keep_last_page: bool = False,
        interrupted: Callable[[], None] = lambda: None,
        report: Callable[[int, int, int], None] = lambda ended, total, turns: None,
    ) -> None:
        self.agent = agent
        self.shop = shop
        self.prompter = prompter
        self.sampler = sampler
        self._rollout = rollout
        self._keep_last_page = keep_last_page
        self._interrupted = interrupted
        self._report = report
        self._freed = FreedMemory()
        self.num_decisions = 0

    @torch.no_grad()
    def collect(
        self,
        specs: Sequence[EpisodeSpec],
        *,
        temperature: float,
        top_p: float = 1.0,
        agent: Agent | None = None,
        teacher: Teacher | None = None,
        prompter: Prompter | None = None,
    ) -> list[Trajectory]:
        """Play the episodes and return their trajectories in the order of specs.

        Args:
            temperature: 0 is greedy.
            top_p: see sampling.choose.
            agent: who plays, e.g. the reference policy; None for the collector's own. It reads the same
                prompts.
            teacher: who labels the pages that are reached (see Episode).
            prompter: pages to tokens in this collection; None for the collector's own.
        """
        agent = agent or self.agent
        done: list[Trajectory] = []
        size = self._rollout.batch_size
        for start in range(0, len(specs), size):
            self._freed.release()  # what learning, or the batch before, has left
            everyone = [self.begin(spec, agent, teacher, prompter) for spec in specs[start : start + size]]
            sampling = self.sampler.playing(agent, everyone, temperature=temperature, top_p=top_p)
            with sampling as batch:
                self._play(batch, everyone, done, len(specs))
            done += [episode.trajectory for episode in everyone]
        self.sampler.rest()
        self._freed.release()
        return done

    def play_back(
        self, spec: EpisodeSpec, decisions: Sequence[tuple[int, float]], *, prompter: Prompter
    ) -> Trajectory:
        """An episode that was played before, again; no network is asked.

        Args:
            decisions: token and log-prob of each of its decisions, sampled with top_p 1.
            prompter: that it was played with.
        """
        episode = self.begin(spec, prompter=prompter)
        for token, logprob in decisions:
            episode.push(token, logprob, episode.mask())
        episode.trajectory.replayed = True
        return episode.trajectory

    def begin(
        self,
        spec: EpisodeSpec,
        agent: Agent | None = None,
        teacher: Teacher | None = None,
        prompter: Prompter | None = None,
    ) -> Episode:
        """An episode at its first page."""
        return Episode(
            spec,
            self.shop.session(),
            prompter or self.prompter,
            self._rollout,
            (agent or self.agent).context_tokens,
            keep_last_page=self._keep_last_page,
            teacher=teacher,
        )

    def _play(self, batch: Batch, everyone: list[Episode], done: list[Trajectory], total: int) -> None:
        """Play a batch to its end; done and total are for the report."""
        turns_before = sum(len(trajectory.turns) for trajectory in done)
        num_live = sum(not episode.finished for episode in everyone)
        while num_live:
            self._interrupted()
            self.num_decisions += batch.advance()
            num_live = sum(not episode.finished for episode in everyone)
            turns = turns_before + sum(len(episode.trajectory.turns) for episode in everyone)
            self._report(len(done) + len(everyone) - num_live, total, turns)
