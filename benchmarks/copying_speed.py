"""What copying costs: `python -m benchmarks.copying_speed [--data-dir FOLDER]`.

The same transcripts are read by the tiny model as it is, with a pointer, and with pointer and smear: once as
a collection reads them, piece by piece with a decision after each, and once as learning does, forward and
backward. Random weights, one thread, the best of some repeats; times are those of the processor.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from benchmarks.options import configured, speed_parser
from webshop_rl.build import Acting, build_agent, build_shop
from webshop_rl.cli import command
from webshop_rl.config import register
from webshop_rl.config.schema import RunConfig
from webshop_rl.envs.types import Shop
from webshop_rl.models.agent import Agent
from webshop_rl.rollout.packing import pack
from webshop_rl.rollout.shared_cache import SharedCache
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.batching import batch_shape, micro_batches
from webshop_rl.training.collection import goals_of, group_specs

GROUP_SIZE = 8
NETWORKS = {
    "plain": (),
    "pointer": ("model.pointer=true",),
    "pointer and smear": ("model.pointer=true", "model.smear=true"),
}


def agent_of(shop: Shop, overrides: Sequence[str]) -> Agent:
    """An agent with random weights."""
    return build_agent(configured(overrides).model, shop, critic=False, device=torch.device("cpu"))


def transcripts(config: RunConfig, shop: Shop, agent: Agent, number: int) -> list[Trajectory]:
    """Episodes of the untrained policy, GROUP_SIZE of a goal."""
    goals = goals_of(shop.goals("train"), 0, max(1, number // GROUP_SIZE), 0)
    collector = Acting.of(config.rollout, config.view, agent).collector(agent, shop)
    return collector.collect(group_specs(goals, GROUP_SIZE, 0, 0), temperature=1.0)


def decode(agent: Agent, trajectories: Sequence[Trajectory]) -> None:
    """Read the transcripts together, as a collection does: up to each decision, then its logits."""
    segments = [trajectory.segments[0] for trajectory in trajectories]
    agent.network.eval()
    cache = SharedCache(agent.network, len(segments))
    ends = [[at for at, decided in enumerate(segment.decision) if decided] for segment in segments]
    for step in range(max(map(len, ends))):
        pieces = [
            segment.tokens[end[step - 1] if step else 0 : end[step]] if step < len(end) else []
            for segment, end in zip(segments, ends, strict=True)
        ]
        cache.feed(pieces, agent.codec.pad)
        cache.logits([i for i, piece in enumerate(pieces) if piece])


def learn(agent: Agent, trajectories: Sequence[Trajectory], micro_batch_tokens: int) -> None:
    """One forward and backward pass over the transcripts."""
    num_tokens, num_turns = batch_shape(trajectories)
    agent.network.train()
    agent.network.zero_grad()
    for part in micro_batches(trajectories, range(len(trajectories)), micro_batch_tokens):
        packed = pack(
            [trajectories[i] for i in part],
            num_tokens=num_tokens,
            num_turns=num_turns,
            pad=agent.codec.pad,
            device=agent.network.device,
        )
        agent.network(packed.inputs, 1.0).logprobs.sum().backward()


def seconds(work: Callable[[], None]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(name: str, overrides: Sequence[str], num_episodes: int, repeats: int) -> None:
    """Print the figures of one shop."""
    config = configured(overrides)
    shop = build_shop(config.env)
    agents = {network: agent_of(shop, [*overrides, *given]) for network, given in NETWORKS.items()}
    trajectories = transcripts(config, shop, agents["plain"], num_episodes)
    num_tokens = sum(len(segment.tokens) for t in trajectories for segment in t.segments)
    num_decisions = sum(trajectory.num_decisions for trajectory in trajectories)
    print(f"{name}: {len(trajectories)} transcripts, {num_tokens} tokens, {num_decisions} decisions")
    best = {(network, kind): float("inf") for network in agents for kind in ("decoding", "learning")}
    for _ in range(repeats):
        for network, agent in agents.items():
            found = {
                "decoding": seconds(lambda agent=agent: decode(agent, trajectories)),  # type: ignore[misc]
                "learning": seconds(
                    lambda agent=agent: learn(agent, trajectories, config.optim.micro_batch_tokens)  # type: ignore[misc]
                ),
            }
            for kind, took in found.items():
                best[network, kind] = min(best[network, kind], took)
    for kind in ("decoding", "learning"):
        for network, agent in agents.items():
            took, plain = best[network, kind], best["plain", kind]
            size = sum(p.numel() for p in agent.network.parameters())
            rates = f"{took:7.3f} s {num_tokens / took:8.0f} tokens/s {took / plain:5.2f} of plain"
            print(f"  {kind} {network:18s} {size:9d} parameters {rates}")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = speed_parser(__doc__, episodes="read together")
    parser.add_argument("overrides", nargs="*", help="of the configuration, e.g. model.hidden_size=64")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    register()
    shops = {"shop5": ["env=shop5"]}
    if options.data_dir:
        data = f"env.data_dir={Path(options.data_dir).resolve()}"
        shops["webshop, 1,000 products"] = ["env=webshop", data, "env.max_steps=6", "view.pages=compact"]
    for name, overrides in shops.items():
        measure(name, [*overrides, *options.overrides], options.episodes, options.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
