"""Which stage of a curriculum training goals come from: a state machine, without shops and networks.

    promoted   lower Wilson bound of the stage's success in the window > promote_at
    demoted    upper Wilson bound                                      < demote_below

Either only after min_collections collections at the stage. The window is the latest episodes played at the
stage since it was entered; replayed episodes of earlier stages do not count. Draws are functions of seed,
iteration and stage; all else is in `CurriculumState`, which checkpoints contain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from webshop_rl.config.groups import CurriculumConfig
from webshop_rl.statistics import wilson

_DRAW: Final = 9  # tells these draws from others of the same seed and iteration


@dataclass
class CurriculumState:
    """What a checkpoint remembers of a curriculum.

    Attributes:
        stage: that training is at, from 0.
        reached: the furthest stage so far.
        collections: at this stage since it was entered.
        outcomes: success of the latest episodes played at this stage, oldest first.
        drawn: training goals drawn from each stage so far.
        best: best success of an evaluation so far, by stage that was evaluated.
        moves: promotions and demotions so far.
    """

    stage: int = 0
    reached: int = 0
    collections: int = 0
    outcomes: list[bool] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    moves: int = 0


class Curriculum:
    """Decides stages of one run.

    Args:
        config: of the run.
        state: as `as_json` gave it; empty at the beginning of a run.
    """

    def __init__(self, config: CurriculumConfig, state: Mapping[str, Any] | None = None) -> None:
        self._config = config
        self.names: list[str] = [str(stage["name"]) for stage in config.stages]
        self.state = CurriculumState(**(state or {}))
        self.state.drawn = self.state.drawn or [0] * len(self.names)

    def as_json(self) -> dict[str, Any]:
        """The whole state, as a checkpoint contains it."""
        return asdict(self.state)

    @property
    def at(self) -> str:
        """Name of the stage that training is at."""
        return self.names[self.state.stage]

    @property
    def reached(self) -> list[str]:
        """Names of the stages that training has been at."""
        return self.names[: self.state.reached + 1]

    def plan(self, num_goals: int, iteration: int, seed: int) -> list[int]:
        """The stage of each goal of a collection, earlier ones first; changes nothing.

        A goal is replayed with probability `replay`, from any earlier stage alike.

        Args:
            iteration: 0-based index of the collection.
            seed: of the run.
        """
        rng = np.random.default_rng([seed, iteration, _DRAW])
        now = self.state.stage
        replayed = rng.random(num_goals) < self._config.replay
        earlier = rng.integers(max(1, now), size=num_goals)
        return sorted(
            int(old) if again and now else now for again, old in zip(replayed, earlier, strict=True)
        )

    def take(self, plan: Sequence[int], outcomes: Mapping[str, Sequence[bool]]) -> str | None:
        """Count a collection that was played, and move if its outcomes say so.

        Args:
            plan: as `plan` gave it.
            outcomes: success of the collection's episodes by name of their stage.
        Returns: what happened, in words; None if training stays at its stage.
        """
        state = self.state
        config = self._config
        for stage in plan:
            state.drawn[stage] += 1
        state.collections += 1
        played = [*state.outcomes, *map(bool, outcomes.get(self.at, ()))]
        state.outcomes = played[-config.window :]
        if state.collections < config.min_collections:
            return None
        low, high = self.bounds()
        if low > config.promote_at and state.stage + 1 < len(self.names):
            return self._move(+1, f"lower bound of its success {low:.2f} > {config.promote_at:g}")
        if high < config.demote_below and state.stage > 0:
            return self._move(-1, f"upper bound of its success {high:.2f} < {config.demote_below:g}")
        return None

    def bounds(self) -> tuple[float, float]:
        """Wilson interval of the success in the window."""
        return wilson(sum(self.state.outcomes), len(self.state.outcomes))

    def metrics(self) -> dict[str, float]:
        """Where training is, under full names."""
        outcomes = self.state.outcomes
        return {
            "curriculum/stage": self.state.stage + 1,
            "curriculum/reached": self.state.reached + 1,
            "curriculum/success": sum(outcomes) / len(outcomes) if outcomes else 0.0,
            "curriculum/success_low": self.bounds()[0],
            "curriculum/moves": self.state.moves,
        }

    def evaluated(self, success: Mapping[str, float]) -> dict[str, float]:
        """Note the success of an evaluation by stage; metrics of it and of what was forgotten.

        Forgetting is the best success of a stage so far minus that of now: 0 at a new best.
        """
        found: dict[str, float] = {}
        forgetting = []
        for name, now in success.items():
            self.state.best[name] = max(now, self.state.best.get(name, 0.0))
            forgetting.append(self.state.best[name] - now)
            found[f"stage/{name}/val_success"] = now
            found[f"stage/{name}/forgetting"] = forgetting[-1]
        return found | {"curriculum/forgetting": max(forgetting, default=0.0)}

    def describe(self, success: Mapping[str, float]) -> str:
        """An evaluation in words: the success of each stage, and how much of its best it has lost."""
        parts = []
        for name, now in success.items():
            lost = self.state.best.get(name, now) - now
            parts.append(f"{name} {now:.2f}" + (f" (forgot {lost:.2f})" if lost > 0 else ""))
        return f"training at {self.at}; validation success: {', '.join(parts)}"

    def _move(self, by: int, why: str) -> str:
        left = self.at
        state = self.state
        state.stage += by
        state.reached = max(state.reached, state.stage)
        state.collections = 0
        state.outcomes = []
        state.moves += 1
        return f"{'promoted' if by > 0 else 'demoted'} from {left} to {self.at}: {why}"
