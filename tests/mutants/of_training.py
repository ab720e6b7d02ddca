"""What is trained on, when, and what a resumed run takes up: errors that a test must notice."""

from __future__ import annotations

from tests.mutants.mutant import UNIT, Mutant, of

SPLITS = ("tests/integration/test_splits_in_a_run.py",)
VSTAR = (UNIT + "training/test_vstar_source.py",)
TRAINER = (UNIT + "training/test_trainer.py",)
TROUBLE = (UNIT + "training/test_trouble.py",)
CRASHES = (UNIT + "training/test_trainer_crashes.py",)
LEARNER = (UNIT + "training/test_learner.py",)
FAULTS = (UNIT + "training/test_learner_faults.py",)
OPTIMISER = (UNIT + "training/test_optimiser.py",)
GOALS = (UNIT + "training/test_collection.py",)
RENAMING = ("tests/property/test_renaming.py",)
ENGINES = (UNIT + "rollout/engines/test_masks.py",)

MUTANTS: list[Mutant] = [
    *of(
        "assembly.py",
        SPLITS,
        (
            "trains on all goals",
            'train_goals = shop.goals("train")',
            'train_goals = shop.goals("all")',
        ),
        ("validates on test goals", 'val_goals=shop.goals("val")', 'val_goals=shop.goals("test")'),
        ("validates on training goals", 'val_goals=shop.goals("val")', 'val_goals=shop.goals("train")'),
        (
            "tests on validation goals",
            'evaluation_specs(shop.goals("test")',
            'evaluation_specs(shop.goals("val")',
        ),
    ),
    *of(
        "training/trainer.py",
        SPLITS,
        ("evaluates as it samples", "specs, config.temperature,", "specs, 1.0,"),
        (
            "validates what it trains on",
            "[g for g in self._val_goals",
            "[g for g in self._player._goals",
        ),
    ),
    *of(
        "training/trainer.py",
        TROUBLE,
        (
            "forgets the skipped steps of lost weights",
            "self._learner.skipped_in_a_row = progress.skipped_in_a_row = 0",
            "self._learner.skipped_in_a_row = 0",
        ),
        ("judges restored weights by lost updates", "self._health.restore([])", "self._health.state()"),
    ),
    *of(
        "training/trainer.py",
        TRAINER,
        (
            "V* of another trajectory's goal",
            "by_goal[t.goal.id] for t in played",
            "by_goal[t.goal.id] for t in played[::-1]",
        ),
        (
            "the checkpoint that solves most goals is the best, whatever their products",
            "score: tuple[float, ...] = rank(means)",
            'score: tuple[float, ...] = (means["success"], means["score"], means["return_mean"])',
        ),
        (
            "the latest of equals is the best",
            "if score > self.progress.best or",
            "if score >= self.progress.best or",
        ),
        (
            "evaluates one update late",
            "update // every > (update - step) // every",
            "update // every > update // every",
        ),
    ),
    *of(
        "training/playing.py",
        TRAINER,
        (
            "the same goals in every update",
            "first = iteration * config.algo.goals_per_update",
            "first = 0 * config.algo.goals_per_update",
        ),
        (
            "the same episodes in every update",
            "goals, config.algo.group_size, iteration, config.seed",
            "goals, config.algo.group_size, 0, config.seed",
        ),
    ),
    *of(
        "training/replay.py",
        (UNIT + "training/test_replay.py",),
        ("replays what is no better", "kept.episode_return <= top", "kept.episode_return < top - 1"),
        ("keeps the latest, better or not", "best.episode_return >= kept.episode_return", "True"),
        ("under today's names of the words", "rename, kept.iteration, seed", "rename, 0, seed"),
    ),
    *of(
        "training/trainer.py",
        CRASHES,
        (
            "num_skipped is lost at a resume",
            "self._learner.num_skipped = self.progress.num_skipped",
            "self._learner.num_skipped = 0",
        ),
    ),
    *of(
        "training/vstar.py",
        VSTAR,
        (
            "V* is sampled from the policy",
            "agent=reference",
            "agent=None",
        ),
        ("V* is sampled without top_p", "top_p=self._rollout.top_p,", "top_p=1.0,"),
        ("V* is sampled at temperature 1", "temperature=self._rollout.temperature,", "temperature=1.0,"),
        (
            "one episode for all indices",
            '"vstar", self._vstar.seed, goal, index)',
            '"vstar", self._vstar.seed, goal, 0)',
        ),
        ("the mean for the soft maximum", "estimator=self._vstar.estimator, beta", 'estimator="mean", beta'),
        (
            "episodes of another goal",
            "self._goals[goal],",
            "next(iter(self._goals.values())),",
        ),
        (
            "the score in the place of the return",
            "Sample(goal, index, trajectory.episode_return,",
            "Sample(goal, index, trajectory.score,",
        ),
    ),
    *of(
        "training/vstar.py",
        (UNIT + "training/test_vstar_code.py",),
        ("the code is not in the key", 'own = {**key, "code": code}', 'own = {**key, "code": ""}'),
        ("reused samples lie under the code's own key", 'own | {"reuses": provenance.reused_key}', "own"),
    ),
    *of(
        "training/collection.py",
        GOALS,
        ("every pass in the same order", "default_rng([seed, passes])", "default_rng([seed])"),
        ("a group plays one episode", "iteration, place, goal.id, sample)", "iteration, place, goal.id)"),
    ),
    *of(
        "training/batching.py",
        (UNIT + "training/test_batching.py",),
        ("pages of all goals are one", "(trajectory.goal.id, turn.state)", '("", turn.state)'),
    ),
    *of(
        "training/learner.py",
        LEARNER,
        ("the gradient is not averaged back", "weight * self._ranks.size).backward", "weight * 2).backward"),
        ("advantages of other rows", "advantages.tokens[rows],", "advantages.tokens[: len(rows)],"),
        (
            "the same minibatches in every epoch",
            "default_rng([self._seed, update, epoch])",
            "default_rng([self._seed])",
        ),
        (
            "gradients pile up",
            "self.optimiser.zero_grad(set_to_none=True)\n        self._network.train()",
            "self._network.train()",
        ),
    ),
    *of(
        "training/learner.py",
        FAULTS,
        ("steps on an infinite gradient", "if np.isfinite(grad_norm):", "if not np.isnan(grad_norm):"),
    ),
    *of(
        "training/learner.py",
        OPTIMISER,
        (
            "lr_scale is lost",
            "set_lr(self.optimiser, lr * self.agent.lr_scale)",
            "set_lr(self.optimiser, lr)",
        ),
    ),
    *of(
        "training/collection.py",
        RENAMING,
        (
            "one renaming for the whole run",
            'episode_seed("rename", seed, iteration)',
            'episode_seed("rename", seed)',
        ),
    ),
    *of(
        "training/curriculum.py",
        (UNIT + "training/test_curriculum.py",),
        ("promotes by the upper bound", "if low > config.promote_at", "if high > config.promote_at"),
        ("demotes by the lower bound", "if high < config.demote_below", "if low < config.demote_below"),
        ("no minimum dwell", "if state.collections < config.min_collections:", "if False:"),
        ("the window has no end", "played[-config.window :]", "played"),
        ("replays count for the stage", "outcomes.get(self.at, ())", "sum(outcomes.values(), [])"),
        ("a new stage keeps the old window", "        state.outcomes = []\n", ""),
        ("the same plan whatever the iteration", "[seed, iteration, _DRAW]", "[seed, _DRAW]"),
        ("replay of the first stage only", "int(old) if again and now", "0 if again and now"),
        ("forgetting against the last", "max(now, self.state.best.get(name, 0.0))", "now"),
    ),
    *of(
        "training/trainer.py",
        (UNIT + "training/test_trainer_curriculum.py",),
        (
            "a resumed curriculum begins anew",
            "Curriculum(self._config.curriculum, self.progress.curriculum)",
            "Curriculum(self._config.curriculum)",
        ),
        ("stages ahead are validated", "or g.stage in curriculum.reached", "or g.stage"),
        ("the best of any stage", "(curriculum.state.reached, *score)", "(0, *score)"),
    ),
    *of(
        "training/playing.py",
        (UNIT + "training/test_trainer_curriculum.py",),
        ("the same goals of a stage", "range(first, first + plan.count(stage))", "range(plan.count(stage))"),
    ),
    *of(
        "training/learner.py",
        ENGINES,
        ("weights are left out", "sampler_weights=found.weights", "sampler_weights=None"),
    ),
]
