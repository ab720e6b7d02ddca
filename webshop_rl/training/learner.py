"""From a collection to optimiser steps; the same for every algorithm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from webshop_rl.algos.algorithm import ActionBatch, Advantages, Algorithm, LossInputs, Norm
from webshop_rl.algos.importance import correction
from webshop_rl.config.schema import OptimConfig
from webshop_rl.distributed.ranks import Ranks
from webshop_rl.errors import UserError
from webshop_rl.models.agent import Agent
from webshop_rl.models.memory import memory_advice
from webshop_rl.models.network import PolicyNetwork
from webshop_rl.rollout.packing import Packed, pack
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.batching import action_batch, batch_shape, micro_batches, norm_of, state_numbers
from webshop_rl.training.checkpoint import Checkpoint
from webshop_rl.training.optimiser import build_optimiser, schedule_factor, set_lr
from webshop_rl.training.reference import Reference


@dataclass(frozen=True)
class UpdateResult:
    """What one optimiser step did; metrics carry their logged names."""

    metrics: dict[str, float]


@dataclass(frozen=True)
class Importance:
    """How to learn from what another engine than the learner's own network sampled.

    Attributes:
        cap: largest importance weight of a token; None: no weights, the gap is measured alone.
    """

    cap: float | None


@dataclass(frozen=True)
class Collected:
    """A collection as its optimiser steps see it: episodes, their action tokens, their advantages."""

    trajectories: Sequence[Trajectory]
    batch: ActionBatch
    advantages: Advantages


class Learner:
    """Owns the optimiser and takes the steps.

    Args:
        agent: the policy that is trained.
        reference: the reference policy, or None if the algorithm needs none.
        algorithm: advantages, loss and schedule of passes.
        lr: learning rate in the terms of a Qwen2.5 fine-tune; the agent's lr_scale is applied here.
        num_updates: length of the run, for the schedule.
        optim: of the optimiser, of micro-batches, and of the steps skipped in a row before it is given up.
        temperature: of sampling; log-probs are taken at the same.
        seed: of the order of minibatches.
        ranks: that train together.
        importance: None where the learner's own network samples.
    """

    def __init__(
        self,
        agent: Agent,
        reference: Reference | None,
        algorithm: Algorithm,
        *,
        lr: float,
        num_updates: int,
        optim: OptimConfig,
        temperature: float,
        seed: int,
        ranks: Ranks,
        importance: Importance | None = None,
    ) -> None:
        self.agent = agent
        self._reference = reference
        self.algorithm = algorithm
        self._ranks = ranks
        self._lr = lr
        self._num_updates = num_updates
        self._optim = optim
        self._temperature = temperature
        self._seed = seed
        # What is cloned was not sampled by the policy: it has no log-probs to compare with.
        self._importance = None if algorithm.needs_teacher else importance
        self._network = ranks.prepare(agent.network)
        self.optimiser = build_optimiser(
            self._network, lr * agent.lr_scale, optim, getattr(algorithm, "critic_lr_scale", 1.0)
        )
        self.num_skipped = 0
        self.skipped_in_a_row = 0

    @property
    def updates_per_collection(self) -> int:
        return self.algorithm.num_epochs * self.algorithm.num_minibatches

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and optimiser state, for a checkpoint; called by every rank."""
        return self._ranks.full_state(self._network, self.agent.network, self.optimiser)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint; called by every rank."""
        self._ranks.load(checkpoint, self._network, self.agent.network, self.optimiser)

    def learn(
        self, trajectories: Sequence[Trajectory], vstar: Sequence[float] | None, update: int
    ) -> Iterator[UpdateResult]:
        """Take the optimiser steps of one collection, one a yield.

        Args:
            trajectories: the whole collection, the same in every rank, each with a turn at least.
            vstar: V* of each trajectory's goal, if the algorithm needs it.
            update: 0-based index of the first step.
        Raises: UserError if there are fewer trajectories than minibatches.
        """
        if len(trajectories) < self.algorithm.num_minibatches:
            raise UserError(
                f"{len(trajectories)} trajectories do not make {self.algorithm.num_minibatches} minibatches",
                where="algo.num_minibatches",
                remedy="lower it, or raise algo.group_size or algo.goals_per_update",
            )
        batch = self._prepare(trajectories, vstar)
        gap: dict[str, float] = {}
        if self._importance is not None:
            batch, gap = self._corrected(batch, self._importance)
        collected = Collected(trajectories, batch, self.algorithm.advantages(batch))
        shared = gap | {f"algo/{name}": value for name, value in collected.advantages.metrics.items()}
        for epoch in range(self.algorithm.num_epochs):
            order = np.random.default_rng([self._seed, update, epoch]).permutation(len(trajectories))
            for part in np.array_split(order, self.algorithm.num_minibatches):
                metrics = self._step(collected, sorted(part.tolist()), update)
                yield UpdateResult(shared | metrics)
                update += 1

    def _prepare(self, trajectories: Sequence[Trajectory], vstar: Sequence[float] | None) -> ActionBatch:
        """The algorithm's view of the collection, with what other networks say of it."""
        algorithm = self.algorithm
        batch = action_batch(trajectories, vstar=vstar)
        if algorithm.needs_states:
            batch = replace(batch, state=state_numbers(trajectories))
        if algorithm.needs_reference:
            assert self._reference is not None
            with self._reference.active() as network:
                ref_logprobs, _, _ = self._score(network, trajectories)
            batch = replace(batch, ref_logprobs=ref_logprobs)
        if batch.replayed is not None or self._importance is not None:
            batch = replace(
                batch, policy_logprobs=self._at_collection(trajectories, batch.behaviour_logprobs)
            )
        if algorithm.needs_critic:
            _, values, last_value = self._score(self.agent.network, trajectories)
            batch = replace(batch, values=values, last_value=last_value)
        return batch

    def _at_collection(self, trajectories: Sequence[Trajectory], behaviour: Tensor) -> Tensor:
        """Log-probs [B, T] under the policy before its steps: as sampled, where its own network did."""
        here = self._importance is None
        rows = [row for row, trajectory in enumerate(trajectories) if trajectory.replayed or not here]
        scored, _, _ = self._score(self.agent.network, [trajectories[row] for row in rows])
        logprobs = behaviour.clone()
        logprobs[rows, : scored.shape[1]] = scored
        return logprobs

    def _corrected(self, batch: ActionBatch, importance: Importance) -> tuple[ActionBatch, dict[str, float]]:
        """The batch as if the learner's network had sampled it, with weights for what it did not; metrics.

        A replayed trajectory keeps the log-probs that it was sampled with: its ratio is to an earlier policy.
        """
        policy = batch.at_collection
        own = batch.own.unsqueeze(1)
        found = correction(policy, batch.behaviour_logprobs, batch.decided & own, importance.cap)
        behaviour = torch.where(own, policy, batch.behaviour_logprobs)
        corrected = replace(batch, behaviour_logprobs=behaviour, sampler_weights=found.weights)
        return corrected, {f"sampler/{name}": value for name, value in found.metrics.items()}

    @torch.no_grad()
    def _score(
        self, network: PolicyNetwork, trajectories: Sequence[Trajectory]
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Log-probs [B, T], values and last values of all trajectories, each rank doing a share."""
        mine = self._ranks.share(range(len(trajectories)))
        rows: dict[int, tuple[Tensor, Tensor | None, Tensor | None]] = {}
        network.eval()
        for part in self._micro_batches(trajectories, mine):
            packed = self._pack(trajectories, part)
            with out_of_memory_advice():
                outputs = network(packed.inputs, self._temperature)
            logprobs = packed.tokens(outputs.logprobs).cpu()
            values, last = (None, None) if outputs.values is None else packed.values(outputs.values)
            for row, index in enumerate(part):
                rows[index] = (
                    logprobs[row],
                    None if values is None else values[row].cpu(),
                    None if last is None else last[row].cpu(),
                )
        whole = self._ranks.gather([rows[i] for i in mine])
        columns = list(zip(*whole, strict=True))
        stacked = [None if column[0] is None else torch.stack(list(column)) for column in columns]
        assert stacked[0] is not None
        return stacked[0], stacked[1], stacked[2]

    def _micro_batches(self, trajectories: Sequence[Trajectory], indices: Sequence[int]) -> list[list[int]]:
        largest = self._optim.micro_batch_tokens
        return micro_batches(trajectories, indices, largest, padded=not self.agent.network.packs)

    def _pack(self, trajectories: Sequence[Trajectory], part: Sequence[int]) -> Packed:
        num_tokens, num_turns = batch_shape(trajectories)
        return pack(
            [trajectories[i] for i in part],
            num_tokens=num_tokens,
            num_turns=num_turns,
            value_level=self.algorithm.value_level,
            pad=self.agent.codec.pad,
            device=self.agent.network.device,
        )

    def _step(self, collected: Collected, indices: list[int], update: int) -> dict[str, float]:
        """One optimiser step on some of the trajectories."""
        # What the step is: its sizes over all ranks, this rank's micro-batches, its learning rate.
        norm = norm_of(collected.batch.select(torch.tensor(indices)))
        share = self._ranks.share(indices)
        parts = self._micro_batches(collected.trajectories, share)
        lr = self._lr * schedule_factor(
            update, self._num_updates, self._optim.warmup_updates, self._optim.schedule
        )
        set_lr(self.optimiser, lr * self.agent.lr_scale)
        self.optimiser.zero_grad(set_to_none=True)
        self._network.train()

        # Gradients of the micro-batches add up to that of the minibatch, and so do their metrics.
        sums: dict[str, float] = {}
        # Every rank takes part in as many passes as the one with most; idle passes weigh nothing.
        num_passes = self._ranks.largest(len(parts))
        for i in range(num_passes):
            part, weight = (parts[i], 1.0) if i < len(parts) else (indices[:1], 0.0)
            with self._ranks.accumulate(self._network, last=i + 1 == num_passes), out_of_memory_advice():
                terms = self._backward(collected, part, norm, weight)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
        metrics = {f"algo/{name}": value for name, value in self._ranks.total(sums).items()}

        # Clipped by its norm over all ranks, so that all step or none does.
        grad_norm = self._ranks.clip_grad_norm(self._network, self._optim.grad_clip)
        with out_of_memory_advice():
            self._apply(grad_norm)
        loss = metrics.pop("algo/loss")
        return metrics | {
            "optim/loss": loss,
            "optim/grad_norm": grad_norm,
            "optim/lr": lr,
            "optim/lr_effective": lr * self.agent.lr_scale,
            "optim/skipped_steps": float(self.num_skipped),
        }

    def _backward(self, collected: Collected, part: list[int], norm: Norm, weight: float) -> dict[str, float]:
        """Add the gradient of one micro-batch, times a weight; its share of the loss's metrics."""
        # The forward pass is on the device; what the formulas see is [B, T] on the CPU.
        packed = self._pack(collected.trajectories, part)
        outputs = self._network(packed.inputs, self._temperature, entropy=self.algorithm.needs_entropy)

        # Advantages and normalisers are of the whole minibatch: how it is cut into parts changes nothing.
        rows = torch.tensor(part)
        values = None if outputs.values is None else packed.values(outputs.values)[0].cpu()
        value_targets = collected.advantages.value_targets
        inputs = LossInputs(
            logprobs=packed.tokens(outputs.logprobs).cpu(),
            batch=collected.batch.select(rows),
            advantages=collected.advantages.tokens[rows],
            norm=norm,
            entropy=None if outputs.entropy is None else packed.tokens(outputs.entropy).cpu(),
            values=values,
            value_targets=None if value_targets is None else value_targets[rows],
            greedy=packed.tokens(outputs.greedy.float()).cpu() > 0,
        )
        result = self.algorithm.loss(inputs)

        # Ranks average their gradients; the losses are shares of one sum.
        (result.loss * weight * self._ranks.size).backward()  # type: ignore[no-untyped-call]
        return {name: float(value) * weight for name, value in result.metrics.items()}

    def _apply(self, grad_norm: float) -> None:
        """Step, unless the gradient is not finite; too many of those in a row end the run."""
        if np.isfinite(grad_norm):
            self.optimiser.step()
            self._ranks.publish(self._network, self.agent.network)
            self.skipped_in_a_row = 0
            return
        self.num_skipped += 1
        self.skipped_in_a_row += 1
        self.optimiser.zero_grad(set_to_none=True)
        if self.skipped_in_a_row >= self._optim.max_skipped_steps:
            raise UserError(
                f"the gradient was not finite for {self.skipped_in_a_row} steps in a row",
                where="optim.max_skipped_steps",
                remedy="lower lr or optim.grad_clip, or use model.dtype=float32",
            )


def out_of_memory_advice() -> contextlib.AbstractContextManager[None]:
    """Turn the device's out-of-memory error into one that names the keys to turn."""
    return memory_advice(
        "learning",
        "turn down optim.micro_batch_tokens, turn on model.gradient_checkpointing, "
        "or turn on model.lora.enabled",
    )
