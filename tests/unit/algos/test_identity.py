"""Every algorithm learns a two-turn identity task to a threshold in a second or two.

Goal g of 4; turn 0: say the token g and stop; turn 1: say the token 3 - g. Each turn said right earns
.5. After a wrong turn 0 the episode ends, so short episodes are the bad ones. The policy is a table of
logits [goal, turn, place, 5]; token 4 ends a reply, at most 3 tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.algorithms import algo_settings
from webshop_rl.algos.algorithm import ActionBatch, LossInputs
from webshop_rl.algos.apo_pg.loss import ApoPg
from webshop_rl.algos.apo_reg.loss import ApoReg
from webshop_rl.algos.apo_sft.loss import ApoSft
from webshop_rl.algos.gigpo.loss import Gigpo
from webshop_rl.algos.grpo.loss import Grpo
from webshop_rl.algos.ppo.loss import Ppo
from webshop_rl.algos.rloo.loss import Rloo
from webshop_rl.training.batching import norm_of

GOALS, TURNS, PLACES, VOCABULARY, STOP = 4, 2, 3, 5, 4
BUILD = {
    "apo_sft": ApoSft,
    "apo_pg": ApoPg,
    "apo_reg": ApoReg,
    "ppo": Ppo,
    "grpo": Grpo,
    "gigpo": Gigpo,
    "rloo": Rloo,
}


def _algorithm(name: str, **change: Any) -> Any:
    return BUILD[name](**algo_settings(name, **{"group_size": 16, **change}))


def _roll(logits: Tensor, goals: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, mask [B, K, P] and rewards [B, K] of one episode per entry of goals."""
    drawn = torch.distributions.utils.clamp_probs(logits[goals].softmax(-1))
    tokens = torch.multinomial(drawn.reshape(-1, VOCABULARY), 1, generator=g).reshape(
        len(goals), TURNS, PLACES
    )
    stopped = (tokens == STOP).cumsum(-1) > 0
    mask = torch.cat([torch.ones_like(stopped[..., :1]), ~stopped[..., :-1]], dim=-1)
    wanted = torch.stack([goals, 3 - goals], dim=1)
    right = (tokens[..., 0] == wanted) & (tokens[..., 1] == STOP)
    mask[:, 1] &= right[:, 0, None]
    rewards = 0.5 * torch.stack([right[:, 0], right.all(dim=1)], dim=1)
    return tokens, mask, rewards


def _learn(algorithm: Any, seed: int, num_iterations: int = 200) -> float:
    """Success of the greedy policy over the four goals, after learning."""
    g = torch.Generator().manual_seed(seed)
    logits = (0.1 * torch.randn(GOALS, TURNS, PLACES, VOCABULARY, generator=g)).requires_grad_()
    critic = torch.zeros(GOALS, TURNS, requires_grad=True)
    reference = logits.detach().clone()
    optimiser = torch.optim.Adam([{"params": [logits], "lr": 0.05}, {"params": [critic], "lr": 0.1}])
    goals = torch.arange(GOALS).repeat_interleave(algorithm.group_size)
    # The exact soft value is near 0 here: a random policy says a turn right once in 25.
    vstar = torch.full((len(goals),), 0.03)

    def logprobs_of(table: Tensor, tokens: Tensor, rows: Tensor) -> Tensor:
        return table.log_softmax(-1)[goals[rows]].gather(-1, tokens[rows][..., None]).squeeze(-1).flatten(1)

    for _ in range(num_iterations):
        tokens, mask, rewards = _roll(logits.detach(), goals, g)
        everything = torch.arange(len(goals))
        batch = ActionBatch(
            behaviour_logprobs=logprobs_of(logits.detach(), tokens, everything),
            mask=mask.flatten(1),
            decision=mask.flatten(1),
            turn=torch.arange(TURNS).repeat_interleave(PLACES).expand(len(goals), -1),
            rewards=rewards,
            turn_mask=mask.any(-1),
            terminated=torch.ones(len(goals), dtype=torch.bool),
            group=goals,
            ref_logprobs=logprobs_of(reference, tokens, everything),
            vstar=vstar,
            values=critic.detach()[goals],
            state=goals[:, None] * TURNS + torch.arange(TURNS),
        )
        found = algorithm.advantages(batch)
        for _epoch in range(algorithm.num_epochs):
            for rows in torch.randperm(len(goals), generator=g).chunk(algorithm.num_minibatches):
                part = batch.select(rows)
                output = algorithm.loss(
                    LossInputs(
                        logprobs_of(logits, tokens, rows),
                        part,
                        found.tokens[rows],
                        norm_of(part),
                        values=critic[goals[rows]],
                        value_targets=None if found.value_targets is None else found.value_targets[rows],
                    )
                )
                optimiser.zero_grad()
                output.loss.backward()
                optimiser.step()
    said = logits.detach().argmax(-1)
    wanted = torch.stack([torch.arange(GOALS), 3 - torch.arange(GOALS)], dim=1)
    return float(((said[..., 0] == wanted) & (said[..., 1] == STOP)).all(dim=1).float().mean())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors are tiny here: threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


CASES = [
    ("apo_sft", {}),
    ("apo_sft", {"weight": "awr"}),
    ("apo_pg", {}),
    ("apo_pg", {"num_epochs": 2, "num_minibatches": 2, "loss_norm": "constant"}),
    ("apo_reg", {}),
    ("apo_reg", {"num_epochs": 2, "num_minibatches": 2}),
    ("ppo", {}),
    ("ppo", {"loss_norm": "trajectory_sum", "value_clip": 0.2}),
    ("grpo", {}),
    ("grpo", {"scale": "none", "num_epochs": 2, "num_minibatches": 2}),
    ("gigpo", {}),
    ("rloo", {}),
]


@pytest.mark.parametrize(("name", "change"), CASES)
def test_learns_the_identity_task(name: str, change: dict[str, Any]) -> None:
    assert [_learn(_algorithm(name, **change), seed) for seed in (0, 1)] == [1.0, 1.0]


def test_self_imitation_fails_under_length_means_where_the_failed_are_short() -> None:
    """On this task a mistake ends the episode: the tokens of failed trajectories count for most and win."""
    sums, means = (
        [_learn(_algorithm("apo_sft", equal_groups="keep", loss_norm=n), seed) for seed in (0, 1, 2)]
        for n in ("trajectory_sum", "length")
    )
    assert sums == [1.0, 1.0, 1.0]
    assert sum(means) / 3 <= 0.25
