"""A run on the five-product shop put together in this process, from the configuration files."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from tests.support.paths import CONF
from webshop_rl.algos.algorithm import Algorithm
from webshop_rl.build import Acting, build_agent, build_algorithm, build_shop
from webshop_rl.config import RunConfig, register, validate
from webshop_rl.config.load import as_typed
from webshop_rl.config.validate import with_data
from webshop_rl.config.walk import plain
from webshop_rl.distributed.ranks import Ranks
from webshop_rl.envs.types import Shop
from webshop_rl.experiment import run_experiment
from webshop_rl.models.agent import Agent
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import EpisodeSpec, episode_seed
from webshop_rl.rollout.types import Trajectory
from webshop_rl.tracking.rows import read_rows
from webshop_rl.training.learner import Learner
from webshop_rl.training.reference import Reference

SMALL = ("model.hidden_size=32", "model.num_layers=2", "model.num_heads=2", "env.max_steps=4")
CPU = torch.device("cpu")


@functools.cache
def _schemas() -> None:
    register()


def composed(*overrides: str) -> DictConfig:
    """The configuration of a run, as launch.py composes it, valid."""
    _schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=["tracking=journal", "hardware.threads=1", *overrides])
    validate(cfg)
    with_data(plain(cfg))
    return cfg


@dataclass
class Parts:
    """The parts of a run; `learner()` makes a fresh optimiser."""

    cfg: RunConfig
    shop: Shop
    agent: Agent
    acting: Acting
    algorithm: Algorithm
    collector: Collector

    def specs(self, num_episodes: int, seed: int = 0) -> list[EpisodeSpec]:
        goals = self.shop.goals("train")
        return [
            EpisodeSpec(goals[i % len(goals)], i // len(goals), episode_seed("test", seed, i))
            for i in range(num_episodes)
        ]

    def collect(self, num_episodes: int, seed: int = 0) -> list[Trajectory]:
        rollout = self.cfg.rollout
        specs = self.specs(num_episodes, seed)
        return self.collector.collect(specs, temperature=rollout.temperature, top_p=rollout.top_p)

    def learner(self, **options: Any) -> Learner:
        """A learner with a fresh optimiser; options are its own, or keys of `optim`."""
        cfg = self.cfg
        needs_reference = self.algorithm.needs_reference or self.algorithm.needs_vstar
        optim = {name: options.pop(name) for name in list(options) if name in vars(cfg.optim)}
        given = {
            "lr": cfg.lr,
            "num_updates": cfg.num_updates,
            "optim": replace(cfg.optim, **optim),
            "temperature": cfg.rollout.temperature,
            "seed": cfg.seed,
            "ranks": Ranks(),
        }
        reference = Reference(self.agent) if needs_reference else None
        return Learner(self.agent, reference, self.algorithm, **{**given, **options})


def build(
    *overrides: str, sharpen: float = 5.0, agent: Agent | None = None, small: tuple[str, ...] = SMALL
) -> Parts:
    """Parts of a small run.

    Args:
        sharpen: what random weights are multiplied by, so that the policy has opinions and a token
            taken for another shows; 1 leaves the agent as it is built.
        agent: to be used in place of the configured one.
        small: overrides that make it small; those of the tiny model.
    """
    cfg = as_typed(composed(*small, *overrides))
    shop, algorithm = build_shop(cfg.env), build_algorithm(cfg.algo)
    if agent is None:
        agent = build_agent(cfg.model, shop, critic=algorithm.needs_critic, device=CPU)
        if sharpen != 1:
            _sharpen(agent, sharpen)
    acting = Acting.of(cfg.rollout, cfg.view, agent)
    collector = acting.collector(agent, shop, keep_last_page=algorithm.needs_critic)
    return Parts(cfg, shop, agent, acting, algorithm, collector)


def _sharpen(agent: Agent, factor: float) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in agent.network.named_parameters():
            if "lora_B" in name or "value_head" in name:  # zero at the start, so they would do nothing
                parameter.normal_(0, 0.05, generator=generator)
            elif parameter.ndim > 1:
                parameter.mul_(factor)


def run_here(root: Path, name: str, *overrides: str) -> tuple[float, Path]:
    """Execute a whole run in this process; its objective and its folder."""
    folder = root / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(composed(*overrides), folder / "config.yaml", resolve=True)
    return run_experiment(folder), folder


def curve(folder: Path, key: str) -> dict[int, float]:
    """Step to value of a metric in a run's journal."""
    rows = [row for row in read_rows(folder / "journal.jsonl") if row["kind"] == "metrics"]
    return {row["step"]: row["metrics"][key] for row in rows if key in row["metrics"]}
