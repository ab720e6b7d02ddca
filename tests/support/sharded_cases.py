"""Learning on shards compared with learning in one process, case by case, by two ranks.

Both ranks hold the same agents and trajectories. Each case takes the steps of a collection in one
process and on shards, then goes on from each other's checkpoints.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from tests.support.shop5_parts import Parts, build
from tests.support.small_tokenizer import small_tokenizer
from webshop_rl.algos.algorithm import LossOutput
from webshop_rl.distributed.ranks import Ranks, join_ranks
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.checkpoint import Checkpoint, write_checkpoint
from webshop_rl.training.learner import Learner

CASES = {
    "full": ("algo=apo_pg", "algo.entropy_coef=0.05", "algo.kl_coef=0.1", "optim.grad_clip=0.05"),
    "copying": ("algo=apo_pg", "model.pointer=true", "model.smear=true"),
    "critic": (
        "algo=ppo",
        "algo.num_epochs=2",
        "algo.num_minibatches=2",
        "model.gradient_checkpointing=true",
    ),
    "chat": ("model=CHAT", "model.dtype=float32", "algo=apo_pg"),
    "chat, narrow, critic": ("model=CHAT", "model.dtype=bfloat16", "algo=ppo", "algo.num_epochs=1"),
    "chat, narrow, adapters": (
        "model=CHAT",
        "model.dtype=bfloat16",
        "model.lora.enabled=true",
        "algo=ppo",
        "algo.num_epochs=1",
    ),
}


def chat_model(folder: Path) -> None:
    """A Qwen2 with biases and an output layer of its own; its vocabulary does not divide by two."""
    tokenizer = small_tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer) + (len(tokenizer) + 1) % 2,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1500,
        initializer_range=0.2,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@dataclass
class Setting:
    """A case's parts, its trajectories, and the ranks."""

    parts: Parts
    trajectories: list[Trajectory]
    ranks: Ranks

    def learner(self, ranks: Ranks) -> Learner:
        """A learner with an agent of its own, as the case begins."""
        network = copy.deepcopy(self.parts.agent.network)
        parts = replace(self.parts, agent=replace(self.parts.agent, network=network))
        return parts.learner(ranks=ranks, lr=3e-3 / self.parts.agent.lr_scale, micro_batch_tokens=400)

    def learn(self, learner: Learner, update: int) -> list[dict[str, float]]:
        needs_vstar = self.parts.algorithm.needs_vstar
        vstar = [0.1 * int(t.goal.asin) for t in self.trajectories] if needs_vstar else None
        return [dict(result.metrics) for result in learner.learn(self.trajectories, vstar, update)]

    def saved(self, learner: Learner, folder: Path) -> Checkpoint:
        """What rank 0 writes; a learner on shards is asked in both."""
        weights, optimiser = learner.state()
        if self.ranks.is_main:
            write_checkpoint(folder, 0, weights, optimiser, {})
        self.ranks.agree(None)
        return Checkpoint(folder / "update_000000", 0)

    def resumed(self, ranks: Ranks, checkpoint: Checkpoint) -> Learner:
        learner = self.learner(ranks)
        learner.restore(checkpoint)
        return learner


def compare(setting: Setting, folder: Path) -> dict[str, float]:
    """Largest differences between one process and shards, before and after a resume."""
    ranks, single = setting.ranks, Ranks()
    alone, shared = setting.learner(single), setting.learner(ranks)
    steps = alone.updates_per_collection
    expected, found = setting.learn(alone, 0), setting.learn(shared, 0)
    of_alone, of_shared = setting.saved(alone, folder / "alone"), setting.saved(shared, folder / "shared")
    held = sum(p.to_local().numel() for p in shared._network.parameters())  # type: ignore[operator]
    result = {
        "loss": max(abs(a["optim/loss"] - b["optim/loss"]) for a, b in zip(expected, found, strict=True)),
        "metrics": difference(expected, found),
        "weights": weight_difference(alone, shared),
        "state": state_difference(of_alone.optimiser_state(), of_shared.optimiser_state()),
        "held_frac": held / sum(p.numel() for p in alone.agent.network.parameters()),
        "moved": weight_difference(setting.learner(single), alone),
    }
    again = setting.resumed(ranks, of_shared)
    from_alone, from_shared = setting.resumed(ranks, of_alone), setting.resumed(single, of_shared)
    last, last_shared = setting.learn(alone, steps), setting.learn(shared, steps)
    result["resumed"] = difference(last_shared, setting.learn(again, steps))
    result["resumed"] = max(result["resumed"], weight_difference(shared, again))
    result["crossed"] = max(
        difference(last, setting.learn(from_alone, steps)),
        difference(last_shared, setting.learn(from_shared, steps)),
    )
    return result


def skip_together(setting: Setting) -> dict[str, float]:
    """The gradient of one rank is not a number: no rank takes the step, and all take the next."""
    learner = setting.learner(setting.ranks)
    before = copy.deepcopy(learner.agent.network.state_dict())
    plain = learner.algorithm.loss

    def loss(*args: Any, **options: Any) -> LossOutput:
        output = plain(*args, **options)
        return replace(output, loss=output.loss * (float("nan") if setting.ranks.rank else 1.0))

    learner.algorithm.loss = loss  # type: ignore[method-assign]
    setting.learn(learner, 0)
    skipped = learner.num_skipped
    moved = max(float((v - before[k]).abs().max()) for k, v in learner.agent.network.state_dict().items())
    learner.algorithm.loss = plain  # type: ignore[method-assign]
    setting.learn(learner, 1)
    counts = setting.ranks.total({"skipped": float(skipped), "moved": moved})
    return counts | {"skipped_later": float(learner.num_skipped - skipped)}


def difference(one: list[dict[str, float]], other: list[dict[str, float]]) -> float:
    assert [metrics.keys() for metrics in one] == [metrics.keys() for metrics in other]
    return max(abs(a[k] - b[k]) for a, b in zip(one, other, strict=True) for k in a)


def weight_difference(one: Learner, other: Learner) -> float:
    pairs = zip(one.agent.network.parameters(), other.agent.network.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def state_difference(one: Any, other: Any) -> float:
    """Largest difference of two optimiser states; an error where they are not of one form."""
    assert type(one) is type(other), (type(one), type(other))
    if isinstance(one, torch.Tensor):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        return float((one - other).abs().max())
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return max((state_difference(one[k], other[k]) for k in one), default=0.0)
    if isinstance(one, list | tuple):
        return max((state_difference(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    return 0.0 if one is None else abs(float(one) - float(other))


def find_differences(folder: Path) -> None:
    """Called in both ranks; the first writes found.json: what was found, by case."""
    torch.set_num_threads(1)
    ranks = join_ranks("fsdp", "cpu")
    if ranks.is_main:
        chat_model(folder / "chat")
    ranks.agree(None)
    found = {}
    for name, overrides in CASES.items():
        given = [o.replace("model=CHAT", "model=qwen2_5_0_5b") for o in overrides]
        chat = "model=CHAT" in overrides
        if chat:
            parts = build(*given, sharpen=1.0, small=("env.max_steps=1", f"model.path={folder / 'chat'}"))
        else:
            parts = build(*given, sharpen=3.0)
        # An odd number: one rank has a micro-batch more than the other.
        trajectories = ranks.agree(parts.collect(3 if chat else 7))
        for i, trajectory in enumerate(trajectories):
            trajectory.turns[-1].reward = 0.2 * i * i  # something to learn, whatever was done
        setting = Setting(parts, trajectories, ranks)
        found[name] = compare(setting, folder / name)
        if name == "full":
            found["skip"] = skip_together(setting)
    if ranks.is_main:
        (folder / "found.json").write_text(json.dumps(found))
    ranks.close()
