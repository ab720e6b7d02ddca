"""Errors that a test must notice: file, exact text, what it becomes, and the narrowest tests that see it."""

from __future__ import annotations

from dataclasses import dataclass

PACKAGE = "webshop_rl/"
UNIT = "tests/unit/"
PROPERTIES = "tests/property/test_algos_properties.py"
SPLITS = ("tests/integration/test_splits_in_a_run.py",)
VSTAR = (UNIT + "training/test_vstar_source.py",)
TRAINER = (UNIT + "training/test_trainer.py",)
TROUBLE = (UNIT + "training/test_trouble.py",)
CRASHES = (UNIT + "training/test_trainer_crashes.py",)
LEARNER = (UNIT + "training/test_learner.py",)
FAULTS = (UNIT + "training/test_learner_faults.py",)
OPTIMISER = (UNIT + "training/test_optimiser.py",)
ADVANTAGES = (UNIT + "algos/test_advantages.py",)
APO = (UNIT + "algos/test_apo.py",)
FAULTY = ("tests/property/test_algos_faults.py",)
GIGPO = (UNIT + "algos/test_gigpo.py",)
REPLAYED = (UNIT + "algos/test_replayed.py",)
APO_REG = (UNIT + "algos/test_apo_reg.py",)
PPO = (UNIT + "algos/test_ppo.py",)
LOSSES = (UNIT + "algos/test_losses.py",)
RETURNS = (UNIT + "algos/test_returns.py",)
KL = (UNIT + "algos/test_kl.py",)
SAMPLING = (UNIT + "models/test_sampling.py",)
EPISODE = (UNIT + "rollout/test_episode.py",)
ESTIMATOR = (UNIT + "values/test_estimator.py",)
GOALS = (UNIT + "training/test_collection.py",)
LADDER = (UNIT + "envs/ladder/test_generator.py", UNIT + "envs/ladder/test_stages.py")
DIFFICULTY = (UNIT + "envs/ladder/test_difficulty.py",)
POINTER = (UNIT + "models/test_pointer.py",)
RENAMING = ("tests/property/test_renaming.py",)
ENGINES = (UNIT + "rollout/engines/test_masks.py",)


@dataclass(frozen=True)
class Mutant:
    """One error.

    Attributes:
        name: what goes wrong.
        file: from the repository's root.
        old, new: the exact text, which the file contains once, and what takes its place.
        tests: what must fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def _of(file: str, tests: tuple[str, ...], *cases: tuple[str, str, str]) -> list[Mutant]:
    return [Mutant(name, PACKAGE + file, old, new, tests) for name, old, new in cases]


MUTANTS = [
    *_of(
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
    *_of(
        "training/trainer.py",
        SPLITS,
        ("evaluates as it samples", "specs, config.temperature,", "specs, 1.0,"),
        (
            "validates what it trains on",
            "[g for g in self._val_goals",
            "[g for g in self._player._goals",
        ),
    ),
    *_of(
        "training/trainer.py",
        TROUBLE,
        (
            "forgets the skipped steps of lost weights",
            "self._learner.skipped_in_a_row = progress.skipped_in_a_row = 0",
            "self._learner.skipped_in_a_row = 0",
        ),
        ("judges restored weights by lost updates", "self._health.restore([])", "self._health.state()"),
    ),
    *_of(
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
    *_of(
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
    *_of(
        "training/replay.py",
        (UNIT + "training/test_replay.py",),
        ("replays what is no better", "kept.episode_return <= top", "kept.episode_return < top - 1"),
        ("keeps the latest, better or not", "best.episode_return >= kept.episode_return", "True"),
        ("under today's names of the words", "rename, kept.iteration, seed", "rename, 0, seed"),
    ),
    *_of(
        "training/trainer.py",
        CRASHES,
        (
            "num_skipped is lost at a resume",
            "self._learner.num_skipped = self.progress.num_skipped",
            "self._learner.num_skipped = 0",
        ),
    ),
    *_of(
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
    *_of(
        "training/vstar.py",
        (UNIT + "training/test_vstar_code.py",),
        ("the code is not in the key", 'own = {**key, "code": code}', 'own = {**key, "code": ""}'),
        ("reused samples lie under the code's own key", 'own | {"reuses": provenance.reused_key}', "own"),
    ),
    *_of(
        "training/collection.py",
        GOALS,
        ("every pass in the same order", "default_rng([seed, passes])", "default_rng([seed])"),
        ("a group plays one episode", "iteration, place, goal.id, sample)", "iteration, place, goal.id)"),
    ),
    *_of(
        "values/estimator.py",
        ESTIMATOR,
        ("not divided by N", "/ beta).mean(axis=-1)", "/ beta).sum(axis=-1)"),
        ("beta is lost", "top + beta * np.log1p", "top + np.log1p"),
        ("the minimum for the maximum", "top = r.max(axis=-1)", "top = r.min(axis=-1)"),
    ),
    *_of(
        "values/store.py",
        (UNIT + "values/test_store.py",),
        ("the last written counts", "entry.origin < old.origin", "entry.origin > old.origin"),
    ),
    *_of(
        "algos/advantages.py",
        ADVANTAGES,
        ("clipped above only", "y.clamp(-clip, clip)", "y.clamp(max=clip)"),
        ("clipped below only", "y.clamp(-clip, clip)", "y.clamp(min=-clip)"),
        ("std of n - 1", "y / x.std(correction=0)", "y / x.std()"),
        ("not centred", 'y = x - x.mean() if how == "mean_std" else x', "y = x"),
        ("no floor of the std", ".clamp(min=std_min)", ""),
        ("a group of one counts as equal", "& (size > 1)", "& (size > 0)"),
    ),
    *_of(
        "algos/advantages.py",
        APO,
        ("V* is added", "returns - batch.vstar.double(), log", "returns + batch.vstar.double(), log"),
        (
            "the log-ratio is added",
            "raw = raw - log_ratio_coef * summed",
            "raw = raw + log_ratio_coef * summed",
        ),
    ),
    *_of(
        "algos/apo_pg/loss.py",
        APO,
        ("kl_coef under k1 is lost", "self.beta2 + self.kl_reward_coef)", "self.beta2)"),
    ),
    *_of(
        "algos/apo_reg/loss.py",
        APO_REG,
        ("beta2 is lost from the error", "squared_error(self.beta2 * moved,", "squared_error(moved,"),
        ("beta2 is lost from the advantage", "self.beta2 + self.kl_reward_coef)", "self.kl_reward_coef)"),
        ("the error has the other sign", "masked(moved - target,", "masked(moved + target,"),
        ("what is not used pulls", "moved - target, target != 0)", "moved - target, target == target)"),
        (
            "the reference's log-ratio",
            "inputs.logprobs, batch.at_collection",
            "inputs.logprobs, batch.ref_logprobs",
        ),
    ),
    *_of(
        "algos/gigpo/loss.py",
        GIGPO,
        (
            "turns are compared within a goal",
            "page = batch.state[turns]",
            "page = batch.group[:, None].expand(turns.shape)[turns]",
        ),
        ("no discount", "gamma=gamma, gae_lambda=1.0", "gamma=1.0, gae_lambda=1.0"),
        ("a turn's advantage is its episode's", "self.step_coef * of_turn", "0.0 * of_turn"),
        ("the turn's advantage has the other sign", "+ self.step_coef", "- self.step_coef"),
    ),
    *_of(
        "algos/advantages.py",
        FAULTY,
        ("a reward that is not a number passes", "(~torch.isfinite(returns)).sum()", "0"),
        ("an advantage that is not a number passes", "(~torch.isfinite(x)).sum()", "0"),
    ),
    *_of(
        "training/batching.py",
        (UNIT + "training/test_batching.py",),
        ("pages of all goals are one", "(trajectory.goal.id, turn.state)", '("", turn.state)'),
    ),
    *_of(
        "envs/types.py",
        (UNIT + "rollout/test_states.py",),
        ("choices are no part of a page", "tuple(sorted(page.chosen.items())), ", ""),
        ("the order of choices is", "tuple(sorted(page.chosen.items()))", "tuple(page.chosen.items())"),
        ("every results page is one", "page.kind, page.text,", "page.kind,"),
    ),
    *_of(
        "algos/losses.py",
        LOSSES,
        ("the larger surrogate", "torch.minimum(plain, safe)", "torch.maximum(plain, safe)"),
        (
            "the ratio is clipped above only",
            "ratio.clamp(1 - settings.clip_eps, 1 + high)",
            "ratio.clamp(max=1 + high)",
        ),
        ("one width for both sides", "1 + high)", "1 + settings.clip_eps)"),
        ("a sequence's ratio is a product", 'if over == "sequence":', 'if over == "never":'),
        ("a trajectory's ratio counts forced tokens", "masked(own, decided)", "own"),
        ("a token has the gradient of all", "own = x.detach()", "own = x"),
        ("the loss has the other sign", "return -masked(weights, mask) *", "return masked(weights, mask) *"),
    ),
    *_of(
        "algos/losses.py",
        LOSSES,
        ("trajectory_sum is a sum", "return mask / trajectories", "return mask"),
        ("constant forgets the divisor", "mask / (trajectories * divisor_tokens)", "mask / trajectories"),
    ),
    *_of(
        "algos/losses.py",
        REPLAYED,
        ("no ratio of what is replayed", "one_update and batch.replayed is None", "one_update"),
        ("KL of what is replayed", "weights = masked(weights, batch.own.unsqueeze(1))", "pass"),
    ),
    *_of(
        "algos/advantages.py",
        REPLAYED,
        ("l of who sampled", "masked(batch.at_collection,", "masked(batch.behaviour_logprobs,"),
    ),
    *_of(
        "algos/losses.py",
        KL,
        ("k2 is not halved", "x.square() / 2", "x.square()"),
        ("k3 of the other direction", "torch.expm1(-x) + x", "torch.expm1(x) - x"),
    ),
    *_of(
        "algos/losses.py",
        APO,
        ("KL from the policy to its sampler", "k3(-x), decided", "k3(x), decided"),
        (
            "entropy is discouraged",
            "loss = loss - settings.entropy_coef",
            "loss = loss + settings.entropy_coef",
        ),
    ),
    *_of(
        "algos/advantages.py",
        RETURNS,
        ("lambda is lost", "delta + gamma * gae_lambda * next_advantage", "delta + gamma * next_advantage"),
        ("gamma is lost", "rewards[:, s] + gamma * next_value", "rewards[:, s] + next_value"),
        ("pages are steps", "torch.where(here, values[:, s], next_value)", "values[:, s]"),
    ),
    *_of(
        "algos/losses.py",
        LOSSES,
        (
            "the better of the two moves",
            "torch.maximum(free, bounded) / 2",
            "torch.minimum(free, bounded) / 2",
        ),
    ),
    *_of(
        "algos/ppo/loss.py",
        PPO,
        (
            "a terminated episode bootstraps",
            "torch.where(batch.terminated, nothing,",
            "torch.where(~batch.terminated, nothing,",
        ),
        ("targets without values", "masked(raw + values, steps)", "masked(raw, steps)"),
    ),
    *_of(
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
    *_of(
        "training/learner.py",
        FAULTS,
        ("steps on an infinite gradient", "if np.isfinite(grad_norm):", "if not np.isnan(grad_norm):"),
    ),
    *_of(
        "training/learner.py",
        OPTIMISER,
        (
            "lr_scale is lost",
            "set_lr(self.optimiser, lr * self.agent.lr_scale)",
            "set_lr(self.optimiser, lr)",
        ),
    ),
    *_of(
        "models/sampling.py",
        SAMPLING,
        (
            "log-probs before the nucleus",
            "            log_p = decision_logprobs(logits, masks, temperature)\n",
            "",
        ),
        ("a nucleus one token short", "before < top_p", "ordered + before < top_p"),
        ("greedy takes the least likely", "log_p.argmax(dim=1)", "log_p.argmin(dim=1)"),
    ),
    *_of(
        "rollout/episode.py",
        EPISODE,
        (
            "truncated is bought",
            "EndReason.BOUGHT if step.terminated else EndReason.MAX_STEPS",
            "EndReason.BOUGHT",
        ),
        (
            "a step's reward counts as score",
            "self.trajectory.score = step.score",
            "self.trajectory.score = step.score or step.reward",
        ),
    ),
    *_of(
        "rollout/episode.py",
        (UNIT + "rollout/test_collector.py",),
        ("the penalty is a bonus", "reward=step.reward - penalty", "reward=step.reward + penalty"),
    ),
    *_of(
        "config/schema.py",
        (UNIT + "config/test_walk.py",),
        (
            "checkpoints change the signature",
            "section(CheckpointConfig, affects_result=False)",
            "section(CheckpointConfig)",
        ),
        ("V*'s seed is no seed", "ranged(ge=0, seed=True, decides=", "ranged(ge=0, decides="),
    ),
    *_of(
        "config/fields.py",
        (UNIT + "config/test_walk.py",),
        ("a key forgets its section's facts", "replace(self, **{", "replace(Facts(), **{"),
    ),
    *_of(
        "config/validate.py",
        (UNIT + "config/test_data.py",),
        ("data is not looked for", "values := schema.find(tree[name])", "values := {}"),
    ),
    *_of(
        "envs/ladder/generator.py",
        LADDER,
        (
            "two products of a kind alike",
            "in close if frozenset(each) not in taken",
            "in close",
        ),
        ("held-out frames are trained on", 'home == "train" and frame_home != "train"', "False"),
        ("held-out products in the first stage", 'split == "instruction" and home != "train"', "False"),
        ("codes of any split", "or product_split(code) != wanted", ""),
        ("the shortest frame decides", "max(fitting, key=len)", "min(fitting, key=len)"),
    ),
    *_of(
        "envs/ladder/shop.py",
        LADDER,
        (
            "a short name has a split of its own",
            "leaders |= {name: code for code, name in shown.items()}",
            "pass",
        ),
        (
            "twins of the stage's products only",
            "leaders |= leaders_of(everything)",
            "leaders |= leaders_of(real)",
        ),
        ("stand-ins are not marked", "remarks=remarks", "remarks=()"),
        ("the hardest first", "[*easiest, *others]", "[*easiest[::-1], *others]"),
        ("real products of any split", "for split in SPLIT_TURNS:", "for split in SPLITS:"),
    ),
    *_of(
        "envs/ladder/difficulty.py",
        DIFFICULTY,
        ("rank counts from 0", "hits.index(product.asin) + 1", "hits.index(product.asin)"),
        ("the last option group alone counts", "math.prod(", "max("),
    ),
    *_of(
        "envs/play.py",
        (UNIT + "envs/test_play.py",),
        ("results count from 0", "return products[int(word) - 1]", "return products[int(word) - 2]"),
        ("the end is not final", "if self._ended:", "if False:"),
        ("what was earned on the way is not explained", "if step.reward:", "if step.terminated:"),
    ),
    *_of(
        "models/network.py",
        POINTER,
        ("what comes later is copied", "<= position[:, None]", ">= position[:, None]"),
        ("one place too many is copied", "<= position[:, None]", "<= position[:, None] + 1"),
    ),
    *_of(
        "models/pointer.py",
        POINTER,
        ("smear without its shift", "self.mix(previous)", "self.mix(embedded)"),
        ("the pointer's scale", "keys.shape[-1] ** 0.5", "keys.shape[-1]"),
    ),
    *_of(
        "models/row_cache.py",
        (*POINTER, UNIT + "models/test_cache.py", UNIT + "rollout/test_shared_cache.py"),
        (
            "the token before is lost",
            "for token in (row.last, *piece[:-1])",
            "for token in (NO_TOKEN, *piece[:-1])",
        ),
        ("positions start anew", "range(row.length, row.length + len(piece))", "range(len(piece))"),
        (
            "two transcripts share a row",
            "self._rows[row].copy() if row in taken",
            "self._rows[row] if row in taken",
        ),
        ("a row is not emptied", "self._rows[row] = self._empty()", "pass"),
        (
            "a copy loses its last token",
            "self.copies.copy(), self.length, self.last)",
            "self.copies.copy(), self.length)",
        ),
        ("a copy loses what may be copied", "self.copies.copy(), self.length", "Room(), self.length"),
        ("copies are seen beyond a transcript", "< lengths[:, None]", "< lengths.max()"),
        ("the first of a piece is read, not the last", ".cumsum(0) - 1", ".cumsum(0) * 0"),
        ("growing forgets", "if held is not None:", "if False:"),
    ),
    *_of(
        "models/cache.py",
        (*POINTER, UNIT + "models/test_cache.py"),
        ("keys of dropped rows stay", "self._copies.batch_select_indices(index)", "pass"),
        ("last tokens of dropped rows stay", "self._last = self._last[index]", "pass"),
        ("a new segment is smeared with the old", "self._last[row] = NO_TOKEN", "pass"),
        ("keys are not compacted", "(*self._cache.layers, self._copies)", "(*self._cache.layers,)"),
    ),
    *_of(
        "models/renaming.py",
        RENAMING,
        ("masks keep their names", "np.sort(self.names[mask.ids])", "mask.ids"),
        ("replies are read under their new names", "decode(self._renaming.original(ids))", "decode(ids)"),
    ),
    *_of(
        "training/collection.py",
        RENAMING,
        (
            "one renaming for the whole run",
            'episode_seed("rename", seed, iteration)',
            'episode_seed("rename", seed)',
        ),
    ),
    *_of(
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
    *_of(
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
    *_of(
        "training/playing.py",
        (UNIT + "training/test_trainer_curriculum.py",),
        ("the same goals of a stage", "range(first, first + plan.count(stage))", "range(plan.count(stage))"),
    ),
    *_of(
        "envs/staged.py",
        (UNIT + "envs/test_staged.py",),
        (
            "the first stage's shop for all",
            "self._shop.stages[goal.stage].session()",
            "next(iter(self._shop.stages.values())).session()",
        ),
        (
            "goals of two stages alike",
            'replace(goal, id=f"{name}/{goal.id}", stage=name)',
            "replace(goal, stage=name)",
        ),
    ),
    *_of(
        "algos/importance.py",
        (UNIT + "algos/test_importance.py",),
        (
            "the weight is upside down",
            "log_ratio(policy.detach(), sampled, decided)",
            "log_ratio(sampled, policy.detach(), decided)",
        ),
        ("nothing is truncated", "ratio.clamp(max=cap)", "ratio"),
    ),
    *_of(
        "training/learner.py",
        ENGINES,
        ("weights are left out", "sampler_weights=found.weights", "sampler_weights=None"),
    ),
    *_of(
        "rollout/engines/masks.py",
        ENGINES,
        ("what was said is forgotten", 'self._read(plain["said"])', "self._read([])"),
        ("padding is sampled", "logits[self._ids.to(logits.device)] = -torch.inf", "pass"),
        ("a thought goes on after its end", "or not _same_masks(episode.ahead(), ahead)", ""),
    ),
    *_of(
        "rollout/engines/weights.py",
        (UNIT + "rollout/engines/test_weights.py",),
        (
            "adapters stay behind",
            "(value.float() + module.get_delta_weight(adapter).float())",
            "value.float()",
        ),
        ("a step goes unnoticed", "parameter._version for", "parameter.shape for"),
    ),
    *_of(
        "config/engine.py",
        (UNIT + "config/test_engine.py",),
        ("any version does", "< _OLDEST", "< (0, 0)"),
    ),
]
