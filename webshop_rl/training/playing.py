"""What is played for a training collection: which goals, in how many rounds, by whom."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from webshop_rl.config.schema import RunConfig
from webshop_rl.distributed.ranks import Ranks
from webshop_rl.envs.types import Goal
from webshop_rl.errors import UserError
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.guided import Demonstrations
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.collection import goals_at, group_specs, renamed_prompter, renamed_transcripts
from webshop_rl.training.curriculum import Curriculum
from webshop_rl.training.replay import Replay
from webshop_rl.training.sampling import Collection


class Player:
    """Plays the training collections of a run; what it draws follows from the seed and the iteration.

    Args:
        collector: plays episodes with the policy.
        guided: where episodes to be cloned come from; None if the algorithm learns from rewards.
        goals: of the training split.
        config: of the run.
        ranks: that play together, a share of the episodes each.

    Attributes:
        replay: the best trajectories so far (collection.replay_best), or None.
    """

    def __init__(
        self,
        collector: Collector,
        guided: Demonstrations | None,
        goals: Sequence[Goal],
        config: RunConfig,
        ranks: Ranks,
    ) -> None:
        self._collector = collector
        self._guided = guided
        self._goals = goals
        self._config = config
        self._ranks = ranks
        self.replay = Replay(collector, config) if config.collection.replay_best else None

    def play(
        self,
        iteration: int,
        *,
        num_resampled: int = 0,
        curriculum: Curriculum | None = None,
        student_share: float = 0.0,
    ) -> Collection:
        """Play a collection: in one round, or in several while groups are to be replaced.

        Args:
            iteration: 0-based index of the collection.
            num_resampled: goals that earlier collections played in the place of dropped ones.
            curriculum: that chooses the stages of the goals, if there is one.
            student_share: of the episodes to be cloned, those that the policy plays itself.
        Raises: UserError if no episode has a turn.
        """
        config = self._config
        rules = config.collection
        wanted = config.algo.goals_per_update
        replay = self.replay
        collection = Collection(rules.equal_groups != "keep", replays=replay is not None)
        for _ in range(rules.max_rounds if rules.equal_groups == "resample" else 1):
            goals, plan = self._goals_of(iteration, collection, num_resampled, curriculum)
            specs = group_specs(
                goals, config.algo.group_size, iteration, config.seed, first=len(collection.goals)
            )
            collection.add(goals, plan, self._collect(specs, iteration, student_share))
            if replay is not None:
                collection.join(replay.better(collection.trajectories))
            if len(collection.kept_goals) >= wanted:
                break
        _refuse_without_turns(collection.trajectories)
        return collection

    def _goals_of(
        self, iteration: int, collection: Collection, num_resampled: int, curriculum: Curriculum | None
    ) -> tuple[list[Goal], list[int]]:
        """The goals of a collection's next round, and with a curriculum the stage of each.

        The first round has as many as an update learns from, each further one as many as were dropped, with a
        curriculum of the stages of those.
        """
        config = self._config
        number = config.algo.goals_per_update - len(collection.kept_goals)
        if curriculum is None:
            first = iteration * config.algo.goals_per_update + num_resampled + len(collection.goals)
            places = range(first, first + number)
            return goals_at(self._goals, places, config.seed, by=config.goals_by), []
        plan = collection.dropped_stages[-number:] or curriculum.plan(number, iteration, config.seed)
        goals: list[Goal] = []
        for stage in sorted(set(plan)):
            own = [goal for goal in self._goals if goal.stage == curriculum.names[stage]]
            first = curriculum.state.drawn[stage] + collection.plan.count(stage)
            goals += goals_at(own, range(first, first + plan.count(stage)), config.seed, by=config.goals_by)
        return goals, sorted(plan)

    def _collect(self, specs: list[EpisodeSpec], iteration: int, student_share: float) -> list[Trajectory]:
        share = self._ranks.share(specs)
        rollout = self._config.rollout
        guided = self._guided
        if guided is None:
            prompter = renamed_prompter(
                self._collector.prompter, rollout.rename, iteration, self._config.seed
            )
            play = functools.partial(self._collector.collect, share, prompter=prompter)
            return self._ranks.gather_from(lambda: play(temperature=rollout.temperature, top_p=rollout.top_p))
        play = functools.partial(guided.collect, share, student_share=student_share)
        codec = self._collector.prompter.codec
        return self._ranks.gather_from(
            lambda: renamed_transcripts(
                play(temperature=rollout.temperature, top_p=rollout.top_p), codec, rollout.rename
            )
        )


def _refuse_without_turns(trajectories: Sequence[Trajectory]) -> None:
    if any(t.turns for t in trajectories):
        return
    if any(t.num_unspellable for t in trajectories):
        raise UserError(
            "no demonstration's first reply can be spelled in the grammar of its page",
            where="algo.demonstrations",
            remedy="rollout.max_query_words=null rollout.queries=window, or rollout.decoding=free",
        )
    raise UserError(
        "no episode of the collection has a turn: the first page does not fit the context",
        where="model.context_tokens",
        remedy="raise it, or lower model.max_page_tokens",
    )
