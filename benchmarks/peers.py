"""What a learning step costs beside others: `python -m benchmarks.peers [--data-dir FOLDER] [OVERRIDE ...]`.

On the same transcripts, with the same weights, one thread, in turns in one process:

    learning step       the learner's: pack, forward, backward, clip, AdamW
    padded              the same on segments padded to the longest, as a model is read that cannot be packed
    the limit           forward and backward of the decoder alone on each transcript, unpadded, nothing shared
    TRL's GRPO loss     GRPOTrainer._compute_loss on one padded batch, its backward, clip, AdamW; where TRL is
                        installed (make test-peers makes that environment)

Transcripts are a group of the untrained policy, so they share a prompt and little else. Figures are medians:
time of the processor, and the peak of resident memory over what was resident before. How fast episodes are
collected, beside generate calls: benchmarks.decoding_speed.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks.copying_speed import GROUP_SIZE, transcripts
from benchmarks.options import configured, peer_parser, peer_shop
from webshop_rl.build import build_agent, build_algorithm, build_shop
from webshop_rl.cli import command
from webshop_rl.config import register
from webshop_rl.config.schema import RunConfig
from webshop_rl.distributed.ranks import Ranks
from webshop_rl.models.agent import Agent
from webshop_rl.models.memory import release_freed
from webshop_rl.models.network import PolicyNetwork
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.learner import Learner

Work = Callable[[], None]


def learning_step(config: RunConfig, agent: Agent, trajectories: Sequence[Trajectory]) -> Work:
    """A step of the learner on all transcripts."""
    learner = Learner(
        agent,
        None,
        build_algorithm(config.algo),
        lr=config.lr,
        num_updates=1000,
        optim=config.optim,
        temperature=config.rollout.temperature,
        seed=0,
        ranks=Ranks(),
    )

    def step() -> None:
        for _ in learner.learn(trajectories, None, 0):
            pass

    return step


def padded_network(agent: Agent) -> PolicyNetwork:
    """The same network, which reads segments as they are padded."""
    network = copy.deepcopy(agent.network)
    network.packs = False
    return network


def unpadded(agent: Agent, trajectories: Sequence[Trajectory]) -> Work:
    """Forward and backward of each transcript by itself, without an output layer."""
    network = copy.deepcopy(agent.network)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        for trajectory in trajectories:
            for segment in trajectory.segments:
                ids = torch.tensor([segment.tokens])
                network.hidden(input_ids=ids, use_cache=False).last_hidden_state.sum().backward()

    return step


def trl_step(agent: Agent, trajectories: Sequence[Trajectory], lr: float, grad_clip: float) -> Work:
    """TRL's loss as its trainer calls it, on a padded batch of all transcripts; without checkpointing."""
    from trl.trainer.utils import add_fused_lm_head

    from tests.support.trl_stand_ins import grpo

    model: Any = copy.deepcopy(agent.network.causal_lm)
    model.set_attn_implementation("sdpa")
    model.train()
    add_fused_lm_head(model, temperature=1.0, outputs=("log_probs", "entropy"))
    trainer = grpo(tempfile.gettempdir(), loss_type="dr_grpo", beta=0.0, num_generations=len(trajectories))
    del vars(trainer)["_get_per_token_logps_and_entropies"]  # the stand-in's; TRL's own scores a model
    vars(trainer).update(model=model, aux_loss_enabled=False, state=SimpleNamespace(global_step=0))
    vars(trainer.accelerator).update(autocast=contextlib.nullcontext, is_main_process=False)
    segments = [trajectory.segments[0] for trajectory in trajectories]
    starts = [segment.action.index(True) for segment in segments]

    def padded(rows: list[list[int]], side: str) -> torch.Tensor:
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_side=side)

    prompts = [segment.tokens[:start] for segment, start in zip(segments, starts, strict=True)]
    replies = [segment.tokens[start:] for segment, start in zip(segments, starts, strict=True)]
    inputs = {
        "prompt_ids": padded(prompts, "left"),
        "prompt_mask": padded([[1] * len(row) for row in prompts], "left"),
        "completion_ids": padded(replies, "right"),
        "completion_mask": padded([[1] * len(row) for row in replies], "right"),
        "tool_mask": padded(
            [[int(a) for a in segment.action[s:]] for segment, s in zip(segments, starts, strict=True)],
            "right",
        ),
        "advantages": torch.linspace(-1, 1, len(trajectories)),
    }
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        trainer._compute_loss(model, inputs).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        optimiser.step()

    return step


def cost(work: Work) -> tuple[float, float]:
    """Processor seconds of a call, and MB by which resident memory rose in it at most."""
    release_freed()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before = _status("VmRSS")
    start = time.process_time()
    work()
    return time.process_time() - start, _status("VmHWM") - before


def _status(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = peer_parser(__doc__)
    parser.set_defaults(repeats=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    register()
    shop_keys = peer_shop(options.data_dir)
    config = configured(["algo=grpo", *shop_keys, *options.overrides])
    shop = build_shop(config.env)
    agent = build_agent(config.model, shop, critic=False, device=torch.device("cpu"))
    trajectories = transcripts(config, shop, agent, GROUP_SIZE)
    for trajectory in trajectories:
        trajectory.turns[-1].reward += trajectory.sample  # returns that differ, or there is nothing to learn
    num_tokens = sum(len(segment.tokens) for t in trajectories for segment in t.segments)
    num_actions = sum(trajectory.num_action_tokens for trajectory in trajectories)
    print(
        f"{config.model.name}: {len(trajectories)} transcripts, {num_tokens} tokens, {num_actions} of actions"
    )
    works = {
        "learning step": learning_step(config, agent, trajectories),
        "padded": learning_step(config, replace(agent, network=padded_network(agent)), trajectories),
        "the limit": unpadded(agent, trajectories),
    }
    if importlib.util.find_spec("trl"):
        works["TRL's GRPO loss"] = trl_step(agent, trajectories, config.lr, config.optim.grad_clip)
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for repeat in range(1 + options.repeats):
        for name, work in works.items():
            found = cost(work)
            if repeat:  # the first makes the optimiser's state
                measured[name].append(found)
    medians = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in measured.items()
    }
    ours = medians["learning step"]
    for name, (seconds, peak) in medians.items():
        ratio = f"{ours[0] / seconds:5.2f} of its time, {ours[1] / peak:5.2f} of its memory"
        print(f"  {name:18s} {seconds:8.3f} s {peak:8.0f} MB   the learning step takes {ratio}")
    if "TRL's GRPO loss" not in works:
        print("  TRL is not installed here: make test-peers, then .venv-peers/bin/python -m benchmarks.peers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
