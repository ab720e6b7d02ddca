"""Builds the parts of a run from its configuration: shop, agent, collector, algorithm."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from webshop_rl.algos.algorithm import Algorithm
from webshop_rl.config.groups import AlgoConfig, CurriculumConfig, EnvConfig, ModelConfig, ViewConfig
from webshop_rl.config.schema import RolloutConfig
from webshop_rl.config.stages import stage_groups
from webshop_rl.config.walk import facts_of
from webshop_rl.construct import construct, construct_shop
from webshop_rl.envs.staged import StagedShop
from webshop_rl.envs.types import PlayableShop, Shop
from webshop_rl.errors import UserError
from webshop_rl.interface.prompts import Prompter
from webshop_rl.models.agent import Agent
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.sampler import NativeSampler, Sampler


def build_shop(env: EnvConfig, curriculum: CurriculumConfig | None = None) -> Shop:
    """The shop of `env`, or those of a curriculum's stages as one.

    Raises: UserError if its data is missing or broken.
    """
    groups = stage_groups(asdict(env), curriculum.stages if curriculum else [])
    if groups:
        return StagedShop({group["name"]: construct_shop(group, PlayableShop) for group in groups})
    shop: Shop = construct_shop(asdict(env), PlayableShop)
    return shop


def build_algorithm(algo: AlgoConfig) -> Algorithm:
    """The algorithm of `algo`."""
    algorithm: Algorithm = construct(asdict(algo))
    return algorithm


def build_agent(model: ModelConfig, shop: Shop, *, critic: bool, device: torch.device) -> Agent:
    """The agent of `model`, on its device. Raises: UserError if its weights are not there."""
    agent: Agent = construct(asdict(model), texts=shop.texts(), furniture=shop.furniture(), critic=critic)
    agent.network.to(device)
    return agent


def build_sampler(rollout: RolloutConfig) -> Sampler:
    """The sampler of `rollout.engine`; an engine starts with its first batch."""
    if rollout.engine == "native":
        return NativeSampler()
    from webshop_rl.rollout.engines.vllm_sampler import VllmSampler

    return VllmSampler(rollout.batch_size)


def choose_device(name: str) -> torch.device:
    """The device of `hardware.device`. Raises: UserError if it is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("no GPU is visible", where="hardware.device", remedy="hardware=cpu runs without")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@dataclass(frozen=True)
class Acting:
    """How an agent acts in a shop: prompts and decoding, and the digest-able key of both."""

    prompter: Prompter
    rollout: RolloutConfig

    @staticmethod
    def of(rollout: RolloutConfig, view: ViewConfig, agent: Agent) -> Acting:
        """From `rollout`, `view` and the agent's codec."""
        prompter = Prompter(
            agent.codec,
            product_labels=agent.product_labels,
            think=rollout.think,
            few_shot=rollout.few_shot,
            list_actions=rollout.list_actions,
            max_page_tokens=agent.max_page_tokens,
            compact=view if view.pages == "compact" else None,
        )
        return Acting(prompter, rollout)

    def key(self, agent: Agent, shop: Shop) -> dict[str, str]:
        """All that determines a reference episode besides goal, seed and sampling."""
        prompts = {f.name: getattr(self.prompter, f.name) for f in fields(self.prompter) if f.name != "codec"}
        rollout = {
            name: value
            for name, value in asdict(self.rollout).items()
            if name not in ("temperature", "top_p") and "reference" in facts_of(f"rollout.{name}").decides
        }
        rest = {"model": agent.fingerprint, "shop": shop.digest(), "context_tokens": agent.context_tokens}
        return {name: str(value) for name, value in {**prompts, **rollout, **rest}.items()}

    def collector(
        self, agent: Agent, shop: Shop, sampler: Sampler | None = None, **options: Any
    ) -> Collector:
        """A collector of this agent in this shop; without a sampler, the agent's own network samples."""
        return Collector(agent, shop, self.prompter, self.rollout, sampler or NativeSampler(), **options)
