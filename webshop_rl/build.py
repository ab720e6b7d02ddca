"""Builds the parts of a run from its configuration: shop, agent, collector, algorithm."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf

from webshop_rl.algos.algorithm import Algorithm
from webshop_rl.construct import construct, construct_shop
from webshop_rl.envs.types import Shop
from webshop_rl.errors import UserError
from webshop_rl.models.agent import Agent
from webshop_rl.models.prompts import Prompter
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import ActingSettings


def build_shop(cfg: DictConfig) -> Shop:
    """The shop of `env`. Raises: UserError if its data is missing or broken."""
    shop: Shop = construct_shop(_plain(cfg.env))
    return shop


def build_algorithm(cfg: DictConfig) -> Algorithm:
    """The algorithm of `algo`."""
    algorithm: Algorithm = construct(_plain(cfg.algo))
    return algorithm


def build_agent(cfg: DictConfig, shop: Shop, *, critic: bool, device: torch.device) -> Agent:
    """The agent of `model`, on its device. Raises: UserError if its weights are not there."""
    agent: Agent = construct(_plain(cfg.model), texts=shop.texts(), critic=critic)
    agent.network.to(device)
    return agent


def _plain(group: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(group, resolve=True))


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
    settings: ActingSettings
    batch_size: int

    @staticmethod
    def of(cfg: DictConfig, agent: Agent) -> Acting:
        """From `rollout` and the agent's codec."""
        rollout = cfg.rollout
        prompter = Prompter(
            agent.codec,
            product_labels=agent.product_labels,
            think=rollout.think,
            few_shot=rollout.few_shot,
            list_actions=rollout.list_actions,
            max_page_tokens=agent.max_page_tokens,
        )
        names = [f.name for f in dataclasses.fields(ActingSettings)]
        settings = ActingSettings(**{name: rollout[name] for name in names})
        return Acting(prompter, settings, rollout.batch_size)

    def key(self, agent: Agent, shop: Shop) -> dict[str, str]:
        """All that determines a reference episode besides goal, seed and temperature."""
        shown = {f.name: getattr(self.prompter, f.name) for f in dataclasses.fields(self.prompter)}
        shown.pop("codec")
        fields: dict[str, Any] = {**shown, **dataclasses.asdict(self.settings)}
        fields |= {"model": agent.fingerprint, "shop": shop.digest(), "context_tokens": agent.context_tokens}
        return {name: str(value) for name, value in fields.items()}

    def collector(self, agent: Agent, shop: Shop, **options: Any) -> Collector:
        """A collector of this agent in this shop."""
        return Collector(agent, shop, self.prompter, self.settings, batch_size=self.batch_size, **options)
