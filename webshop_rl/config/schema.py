"""The schema of a run: types, ranges and facts of all its keys. Values live in conf/; imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webshop_rl.config.budget import planned_updates
from webshop_rl.config.engine import check_engine
from webshop_rl.config.fields import choice, ranged, section
from webshop_rl.config.groups import (
    AlgoConfig,
    CurriculumConfig,
    EnvConfig,
    HardwareConfig,
    ModelConfig,
    Section,
    SweepConfig,
    TrackingConfig,
    ViewConfig,
    clones,
    has_critic,
    has_vstar,
)
from webshop_rl.config.health import HealthConfig
from webshop_rl.errors import UserError

TRANSCRIPT = "transcript"
_WINDOW = "window:"
EXISTING_RUNS = "it says what becomes of runs that exist"


@dataclass
class ShapingConfig(Section):
    """Partial credit in training episodes.

    Attributes:
        kind: none | once | potential; see rollout/shaping.py.
        search: weight of a page of results that shows the target, return units.
        category: weight of the page of a product of the right category.
        product: weight of the target's page.
        options: weight of the wanted options chosen there, in proportion to how many are.
    """

    kind: str = choice("none", "once", "potential")
    search: float = ranged(ge=0)
    category: float = ranged(ge=0)
    product: float = ranged(ge=0)
    options: float = ranged(ge=0)


@dataclass
class RolloutConfig(Section):
    """How the policy acts; keys are explained in conf/config.yaml."""

    decoding: str = choice("admissible", "free")
    temperature: float = ranged(gt=0)
    top_p: float = ranged(gt=0, le=1)
    max_reply_tokens: int = ranged(ge=1)
    queries: str = choice("ordered", "window")
    max_query_words: int | None = ranged(ge=1)
    think: bool = ranged()
    max_think_tokens: int = ranged(ge=1)
    few_shot: int = ranged(ge=0, le=2)
    list_actions: bool = ranged()
    invalid_penalty: float = ranged(ge=0)
    history: str = ranged()
    context_overflow: str = choice("truncate", "drop_oldest")
    rename: float = ranged(ge=0, le=1, decides=())
    batch_size: int = ranged(ge=1, decides=())
    engine: str = choice("native", "vllm", decides=("reference",))
    importance_cap: float | None = ranged(ge=1, decides=())
    shaping: ShapingConfig = section(ShapingConfig, decides=("reference",))

    @property
    def past_turns(self) -> int | None:
        """Turns that the policy is reminded of, where each is a segment of its own; None for transcripts."""
        return None if self.history == TRANSCRIPT else int(self.history.removeprefix(_WINDOW))

    @staticmethod
    def check(group: Mapping[str, Any]) -> None:
        """See that `history` is "transcript" or "window:K"."""
        history = str(group["history"])
        if history != TRANSCRIPT and not re.fullmatch(rf"{_WINDOW}\d{{1,4}}", history):
            raise UserError(
                f"{history!r} is out of range",
                where="rollout.history",
                remedy=f"must be {TRANSCRIPT} or {_WINDOW}K, K turns",
            )

    @staticmethod
    def check_with(config: Mapping[str, Any]) -> None:
        """See that an engine can do what is asked of it, and that shaping by a potential leaves the best
        policies alone. Raises: UserError if not."""
        check_engine(config)
        algo = config["algo"]
        if config["rollout"]["shaping"]["kind"] != "potential":
            return
        for key, needed in (("gamma", 1.0), ("bootstrap_truncated", False)):
            if algo.get(key, needed) != needed:
                raise UserError(
                    f"potentials sum to 0 over an episode with algo.{key}={str(needed).lower()} alone",
                    where=f"algo.{key}",
                    remedy=f"algo.{key}={str(needed).lower()}, or rollout.shaping.kind=once",
                )


@dataclass
class CollectionConfig(Section):
    """What a training collection consists of; keys are explained in conf/config.yaml."""

    equal_groups: str = choice("keep", "drop", "resample")
    max_rounds: int = ranged(ge=1)
    replay_best: bool = ranged()

    @staticmethod
    def check_with(config: Mapping[str, Any]) -> None:
        """See that there are groups that can be dropped, and a use of a replay. Raises: UserError if not."""
        if config["collection"]["replay_best"]:
            _check_replay(config)
        if config["collection"]["equal_groups"] == "keep":
            return
        where, remedy = "collection.equal_groups", "collection.equal_groups=keep"
        algo = config["algo"]
        least = max(2, algo["num_minibatches"])
        if algo["group_size"] < least:
            raise UserError(
                f"a group of {algo['group_size']} would be all there is, and makes no {least} minibatches"
                if least > 2
                else "one trajectory has no other to be equal to",
                where=where,
                remedy=f"algo.group_size={least} or more, or {remedy}",
            )
        if config["control"] == "permuted_rewards":
            raise UserError(
                "which groups are dropped would follow from the rewards that the control takes away",
                where=where,
                remedy=remedy,
            )


def _check_replay(config: Mapping[str, Any]) -> None:
    """See that a trajectory of an earlier policy can be learnt from. Raises: UserError if not."""
    algo = config["algo"]
    where, without = "collection.replay_best", "collection.replay_best=false"
    if has_critic(algo):
        raise UserError(
            "a critic would take returns that were chosen for being high for what is to be expected",
            where=where,
            remedy=f"{without}, or an algorithm without a critic (algo=grpo)",
        )
    if clones(algo):
        raise UserError("no reward is read by which a trajectory is the best", where=where, remedy=without)
    if config["rollout"]["top_p"] < 1:
        raise UserError(
            "an earlier policy's nucleus is not the policy's, so their log-probs have no ratio",
            where=where,
            remedy=f"{without}, or rollout.top_p=1",
        )
    if config["control"] == "permuted_rewards":
        raise UserError(
            "which trajectory is the best would follow from the rewards that the control takes away",
            where=where,
            remedy=without,
        )


@dataclass
class VstarConfig(Section):
    """V*, the soft value of the reference policy, and the reference returns it is estimated from.

    Attributes:
        estimator: soft | max | mean, over the reference samples of a goal.
        beta: temperature of the soft maximum, return units; 0 is the max, .inf the mean.
        num_samples: reference samples per goal.
        adaptive: num_samples, half, a quarter: by thirds of the run.
        min_spread: training goals are left out whose num_samples reference returns have a smaller standard
            deviation, return units; 0 leaves out none.
        seed: of the reference episodes.
    """

    estimator: str = choice("soft", "max", "mean")
    beta: float = ranged(ge=0)
    num_samples: int = ranged(ge=1)
    adaptive: bool = ranged()
    min_spread: float = ranged(ge=0)
    seed: int = ranged(ge=0, seed=True, decides=("reference",))

    @staticmethod
    def check_with(config: Mapping[str, Any]) -> None:
        """See that there is a V* to leave goals out by. Raises: UserError if not."""
        if config["vstar"]["min_spread"] > 0 and not has_vstar(config["algo"]):
            raise UserError(
                f"{config['algo']['name']} samples no reference returns to leave goals out by",
                where="vstar.min_spread",
                remedy="vstar.min_spread=0, or an algorithm with V* (algo=apo_pg)",
            )


@dataclass
class ReferenceConfig(Section):
    """The reference policy: what V* is the value of, and KL is taken to.

    Attributes:
        reset_every: updates after which it becomes the policy of that moment; null: it stays the initial one.
    """

    reset_every: int | None = ranged(ge=1)

    @staticmethod
    def check_with(config: Mapping[str, Any]) -> None:
        """See that the reference has weights of its own. Raises: UserError if not."""
        if config["reference"]["reset_every"] is not None and config["model"]["lora"]["enabled"]:
            raise UserError(
                "the reference of adapters is the model without them",
                where="reference.reset_every",
                remedy="reference.reset_every=null, or model.lora.enabled=false",
            )


@dataclass
class OptimConfig:
    """The optimiser step."""

    grad_clip: float = ranged(gt=0)
    weight_decay: float = ranged(ge=0)
    beta1: float = ranged(ge=0, lt=1)
    beta2: float = ranged(ge=0, lt=1)
    warmup_updates: int = ranged(ge=0)
    schedule: str = choice("constant", "linear", "cosine")
    micro_batch_tokens: int = ranged(ge=1)
    max_skipped_steps: int = ranged(ge=1)


@dataclass
class EvaluationConfig:
    """When and on what the policy is evaluated."""

    every: int = ranged(ge=1)
    val_episodes: int | None = ranged(ge=1)
    test_episodes: int | None = ranged(ge=1)
    temperature: float = ranged(ge=0, decides=("evaluated",))
    seed: int = ranged(ge=0, decides=("evaluated", "scripted"))


@dataclass
class CheckpointConfig:
    """When the run is saved.

    Attributes:
        every: updates between checkpoints.
        keep_optimiser_gb: a finished run keeps its optimiser's state, of the last update, up to this size, so
            that a longer run can go on from it.
    """

    every: int = ranged(ge=1)
    keep_optimiser_gb: float = ranged(ge=0)


@dataclass
class RunConfig:
    """The whole configuration of a run."""

    lr: float = ranged(gt=0, lt=1)
    seed: int = ranged(ge=0, seed=True)
    num_updates: int | None = ranged(ge=0)
    num_episodes: int | None = ranged(ge=0)
    goals_by: str = choice("goal", "product")
    init_from: str | None = ranged(place="path", decides=("reference",))
    env: EnvConfig = ranged(decides=("evaluated", "reference", "scripted"))
    curriculum: CurriculumConfig = ranged(decides=("evaluated", "reference", "scripted"))
    algo: AlgoConfig = ranged()
    model: ModelConfig = ranged(decides=("evaluated", "reference"))
    view: ViewConfig = ranged(decides=("evaluated", "reference"))
    hardware: HardwareConfig = ranged(
        affects_result=False,
        one_a_sweep="one launcher serves the whole sweep, with one kind of hardware",
    )
    tracking: TrackingConfig = ranged(
        affects_result=False, one_a_sweep="the sweep has one parent run in one tracker"
    )
    sweep: SweepConfig = ranged(
        affects_result=False, one_a_sweep="it says how the sweep itself is dispatched"
    )
    rollout: RolloutConfig = section(RolloutConfig, decides=("evaluated", "reference"))
    collection: CollectionConfig = section(CollectionConfig)
    vstar: VstarConfig = section(VstarConfig)
    reference: ReferenceConfig = section(ReferenceConfig)
    optim: OptimConfig = section(OptimConfig)
    evaluation: EvaluationConfig = section(EvaluationConfig)
    health: HealthConfig = section(HealthConfig)
    checkpoint: CheckpointConfig = section(CheckpointConfig, affects_result=False)
    control: str = choice("none", "permuted_rewards")
    root: str = ranged(
        affects_result=False, one_a_sweep="runs in another root cannot be compared here", place="path"
    )
    experiment_name: str = ranged(
        affects_result=False, one_a_sweep="the sweep has one parent run in one experiment"
    )
    retry: bool = ranged(affects_result=False, one_a_sweep=EXISTING_RUNS)
    rerun: bool = ranged(affects_result=False, one_a_sweep=EXISTING_RUNS)
    on_code_change: str = choice("refuse", "reuse", "rerun", affects_result=False, one_a_sweep=EXISTING_RUNS)

    @property
    def planned_updates(self) -> int:
        """Updates of the whole run, by whichever budget is reached first."""
        return planned_updates(
            self.num_updates,
            self.num_episodes,
            episodes_per_collection=self.algo.goals_per_update * self.algo.group_size,
            updates_per_collection=self.algo.num_epochs * self.algo.num_minibatches,
        )
