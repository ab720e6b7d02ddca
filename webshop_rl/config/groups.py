"""Schemas of the config groups: what every shop, algorithm, model, machine and tracker has.

A shop, an algorithm or a model adds keys of its own in a subclass, in its own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from webshop_rl.config.fields import choice, ranged, section
from webshop_rl.errors import UserError


@dataclass
class Section:
    """Keys that stand together; subclasses add keys, and a check by overriding the function."""

    @staticmethod
    def check(group: Mapping[str, Any]) -> None:
        """See that the values fit together; looks at nothing else. Raises: UserError if they do not."""

    @staticmethod
    def check_with(config: Mapping[str, Any]) -> None:
        """See that the section fits the rest of the configuration. Raises: UserError if it does not."""


@dataclass
class ConfigGroup(Section):
    """A section that a file of conf/<group>/ fills; subclasses may override further checks."""

    @staticmethod
    def find(group: Mapping[str, Any]) -> Mapping[str, Any]:
        """See that what the values name is there, cheaply: neither torch nor a catalogue is loaded.

        Returns: values of keys that only a look can tell.
        Raises: UserError if something is missing.
        """
        return {}


@dataclass
class EnvConfig(ConfigGroup):
    """Keys every environment has.

    Attributes:
        name: of its file in conf/env; what tables and reports call the shop.
        max_steps: actions after which an episode is truncated.
    """

    name: str = ranged()
    max_steps: int = ranged(ge=1)

    @staticmethod
    def check_with(config: Mapping[str, Any]) -> None:
        """Refuse partial credit, unless a shop says otherwise. Raises: UserError."""
        if config["rollout"]["shaping"]["kind"] != "none":
            raise UserError(
                "this shop does not say how near a page is to the goal",
                where="rollout.shaping.kind",
                remedy="none, or env=webshop or a stage of the ladder",
            )


WILSON_Z2: Final = 1.959964**2  # statistics.wilson's, at 95 %; imported from there it would load numpy


@dataclass
class CurriculumConfig(ConfigGroup):
    """Shops after one another in one run; schema of conf/curriculum/*.yaml.

    Attributes:
        stages: a mapping each: `name`, and keys of `env` with the values they have at that stage.
        window: latest training episodes of a stage that its success is judged by.
        promote_at: on to the next stage once the lower Wilson bound of that success is above.
        demote_below: back to the one before once the upper Wilson bound is below.
        min_collections: collections at a stage before either.
        replay: share of a collection's goals that come from earlier stages.
    """

    name: str = ranged(decides=())
    stages: list[Any] = ranged()
    window: int = ranged(ge=1, decides=())
    promote_at: float = ranged(ge=0, lt=1, decides=())
    demote_below: float = ranged(ge=0, lt=1, decides=())
    min_collections: int = ranged(ge=1, decides=())
    replay: float = ranged(ge=0, lt=1, decides=())

    @staticmethod
    def check(group: Mapping[str, Any]) -> None:
        """See that both moves can happen, and never at once. Raises: UserError if not."""
        # Wilson's lower bound of nothing but successes; 1 minus it is the upper one of nothing but failures.
        most = group["window"] / (group["window"] + WILSON_Z2)
        if most <= group["promote_at"] or 0 < group["demote_below"] <= 1 - most:
            raise UserError(
                f"so few episodes never show a success above {most:.2f}, or below {1 - most:.2f}",
                where="curriculum.window",
                remedy="a longer window, or other curriculum.promote_at and demote_below",
            )
        if group["demote_below"] >= group["promote_at"] > 0:
            raise UserError(
                "is not below curriculum.promote_at",
                where="curriculum.demote_below",
                remedy="lower it, or raise promote_at",
            )


def has_vstar(algo: Mapping[str, Any]) -> bool:
    """Whether an algorithm's baseline is V*, by the keys of its section (algos.config.VstarAlgoConfig)."""
    return "equal_groups" in algo


def has_critic(algo: Mapping[str, Any]) -> bool:
    """Whether an algorithm learns a critic, by the keys of its section (algos.ppo.config.PpoConfig)."""
    return "value_coef" in algo


def clones(algo: Mapping[str, Any]) -> bool:
    """Whether an algorithm learns from demonstrations (algos.config.CloningConfig)."""
    return "demonstrations" in algo


@dataclass
class AlgoConfig(ConfigGroup):
    """Fields every algorithm has; values live in conf/algo.

    Attributes:
        name: the algorithm's folder in webshop_rl/algos, in files that are variants of it too.
        group_size: trajectories per goal in one collection.
        goals_per_update: goals in one collection.
        num_epochs: passes over one collection.
        num_minibatches: optimiser steps per pass.
        adv_norm: none | std (divide by the batch's) | mean_std (subtract the batch's mean first).
        adv_std_min: floor of that standard deviation, return units.
        adv_clip: bound on the absolute normalised advantage; null for none.
        loss_norm: how the sum over action tokens becomes a loss; see algos/losses.py, token_weights.
        loss_divisor_tokens: divisor per trajectory of loss_norm "constant", tokens.
        kl_coef: weight of KL(policy || reference), on the same scale as the policy term.
        kl_estimator: k1 (subtracted from the reward) | k2 | k3 (added to the loss).
        entropy_coef: weight of the entropy bonus, on the same scale as the policy term.
    """

    name: str = ranged()
    group_size: int = ranged(ge=1)
    goals_per_update: int = ranged(ge=1)
    num_epochs: int = ranged(ge=1)
    num_minibatches: int = ranged(ge=1)
    adv_norm: str = choice("none", "std", "mean_std")
    adv_std_min: float = ranged(ge=0)
    adv_clip: float | None = ranged(gt=0)
    loss_norm: str = choice("trajectory_sum", "token_mean", "constant", "length")
    loss_divisor_tokens: float = ranged(gt=0)
    kl_coef: float = ranged(ge=0)
    kl_estimator: str = choice("k1", "k2", "k3")
    entropy_coef: float = ranged(ge=0)

    @property
    def one_update(self) -> bool:
        """True if a collection serves a single optimiser step, so that the policy is its sampler."""
        return self.num_epochs * self.num_minibatches == 1

    @property
    def kl_reward_coef(self) -> float:
        """Coefficient of the log-ratio to the reference inside the reward."""
        return self.kl_coef if self.kl_estimator == "k1" else 0.0

    @property
    def kl_loss_coef(self) -> float:
        """Coefficient of the KL term of the loss."""
        return self.kl_coef if self.kl_estimator != "k1" else 0.0


@dataclass
class ViewConfig(ConfigGroup):
    """How the policy is shown a page; schema of conf/view/*.yaml, whose comments explain the keys."""

    pages: str = choice("full", "compact")
    instruction_tokens: int = ranged(ge=8)
    result_title_tokens: int = ranged(ge=0)
    result_prices: bool = ranged()
    title_tokens: int = ranged(ge=0)
    option_tokens: int = ranged(ge=1)
    sub_page_tokens: int = ranged(ge=0)
    buttons: bool = ranged()
    turn_numbers: bool = ranged()


@dataclass
class LoraConfig:
    """Low-rank adapters; the reference policy is then the same weights with the adapter off.

    There is no dropout: a policy samples without it, so with it the learner would take the gradient of
    another policy than the one that acted, and another at each size of micro-batch and number of processes.
    """

    enabled: bool = ranged()
    rank: int = ranged(ge=1)
    alpha: float = ranged(gt=0)
    target_modules: Any = ranged()


@dataclass
class ModelConfig(ConfigGroup):
    """Keys every model has."""

    name: str = ranged()
    lr_scale: float = ranged(gt=0, decides=())
    init_seed: int = ranged(ge=0, seed=True)
    context_tokens: int = ranged(ge=64)
    max_page_tokens: int = ranged(ge=16)
    dtype: str = choice("float32", "bfloat16")
    gradient_checkpointing: bool = ranged(decides=())
    micro_batch_tokens: int = ranged(ge=1, decides=())
    product_labels: str = choice("asin", "rank")
    lora: LoraConfig = section(LoraConfig, decides=("evaluated",))  # the reference has its adapter off

    @staticmethod
    def misfit(group: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        """In what way weights of these shapes are not of this model, as far as can be told without it.

        Args:
            shapes: of the tensors, by name.
        """
        return None

    @staticmethod
    def check_export(group: Mapping[str, Any], *, adapter: bool) -> None:
        """See that Hugging Face's own classes can load what an export of this model writes.

        Args:
            group: its keys.
            adapter: the LoRA adapters are written beside their model, not merged into it.
        Raises: UserError if they cannot.
        """
        if adapter and not group["lora"]["enabled"]:
            raise UserError(
                "the run trained the whole model, no adapter", where="--adapter", remedy="leave it out"
            )


@dataclass
class SlurmConfig:
    """What a run asks of Slurm; explained in conf/hardware/slurm_cpu.yaml.

    Attributes:
        gpus: GPUs of one run on each of its nodes.
        nodes, tasks_per_node: more than one task in all trains with several processes.
        cpus: CPU cores a task asks for; null is `hardware.threads`, or 1.
        mem: memory a node, in Slurm's notation; null leaves it to the cluster.
        time: time limit in Slurm's notation (minutes, HH:MM:SS or D-HH:MM:SS).
        signal_s: seconds before the time limit at which a run is asked to save itself and requeue.
        partition, account, qos: as the cluster calls them; null leaves them to it.
        array_parallelism: jobs of one sweep at once; null is no limit of ours.
        setup: shell lines before the run, e.g. `module load cuda`.
        container: words before the python command, e.g. `apptainer exec --nv image.sif`.
        python: the python command on the nodes; null is the one in use here.
        sbatch: further sbatch options by long name, e.g. {constraint: h100}.
    """

    gpus: int = ranged(ge=0)
    nodes: int = ranged(ge=1)
    tasks_per_node: int = ranged(ge=1)
    cpus: int | None = ranged(ge=1)
    mem: str | None = ranged()
    time: str = ranged()
    signal_s: int = ranged(ge=5)
    partition: str | None = ranged()
    account: str | None = ranged()
    qos: str | None = ranged()
    array_parallelism: int | None = ranged(ge=1)
    setup: list[str] = ranged()
    container: str | None = ranged()
    python: str | None = ranged()
    sbatch: dict[str, Any] = ranged()


@dataclass
class HardwareConfig(ConfigGroup):
    """Where a run executes; schema of conf/hardware/*.yaml.

    Attributes:
        executor: local: processes of this machine | slurm: jobs | auto: slurm where sbatch exists.
        device: cpu | cuda | auto (cuda where a GPU is visible).
        threads: CPU threads of one run; null shares the cores evenly between the runs at work, and is 1 where
            the model has fewer than 10 million parameters.
        max_parallel: local runs at once; null is as many as cores (or GPUs) allow.
        restarts: how often in a row a run that was killed is started again without having got further.
        strategy: how several processes of one run share the model: ddp | fsdp.
    """

    name: str = ranged()
    executor: str = choice("auto", "local", "slurm")
    device: str = choice("auto", "cpu", "cuda")
    threads: int | None = ranged(ge=1)
    max_parallel: int | None = ranged(ge=1)
    restarts: int = ranged(ge=0)
    strategy: str = choice("ddp", "fsdp")
    slurm: SlurmConfig = section(SlurmConfig)


@dataclass
class SweepConfig(ConfigGroup):
    """How a multirun is dispatched; schema of conf/sweep/*.yaml.

    Attributes:
        name: name of the sweep; null makes one from its runs, the same for the same command.
        wait: stay until all runs have ended (local runs always need it).
        dry_run: print what would be started, and start nothing.
        on_interrupt: Ctrl-C with jobs on Slurm: ask | cancel | leave.
        pack: runs that share one GPU (or one Slurm job).
        refresh_s: seconds between two looks at the runs.
        vstar_job: sample V*'s reference returns in a job of its own, which the runs wait for.
    """

    name: str | None = ranged()
    wait: bool = ranged()
    dry_run: bool = ranged()
    on_interrupt: str = choice("ask", "cancel", "leave")
    pack: int = ranged(ge=1)
    refresh_s: float = ranged(gt=0)
    vstar_job: bool = ranged()


@dataclass
class TrackingConfig(ConfigGroup):
    """Schema of conf/tracking/*.yaml."""

    kind: str = choice("mlflow", "journal")
    uri: str | None = ranged()
    sync_every_s: float = ranged(gt=0)
    timeout_s: float = ranged(gt=0)
    final_sync_s: float = ranged(ge=0)
    traces: int = ranged(ge=0)
