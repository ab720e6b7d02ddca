"""From random weights to the five products in a dozen updates; nowhere with rewards that say nothing."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import mean

import pytest

from tests.support.shop5_parts import build, curve, run_here

pytestmark = pytest.mark.learning

QUICK = ("evaluation.every=5", "evaluation.val_episodes=20", "evaluation.test_episodes=50")
HALF = ("model.hidden_size=64", "model.num_layers=2")
SOLVED = 0.95


def test_the_default_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `make train`, with fewer updates."""
    objective, folder = run_here(tmp_path, "default", *QUICK, "num_updates=12")
    assert objective == curve(folder, "test/score")[12] >= SOLVED
    assert curve(folder, "test/success")[12] >= SOLVED
    assert curve(folder, "untrained/success")[0] <= 0.5
    printed = capsys.readouterr().out
    for policy in ("untrained policy", "random admissible", "first result", "rule"):
        assert re.search(rf"{policy}\s+\d\.\d{{2,3}} \[", printed)


@pytest.mark.parametrize(
    ("algo", "num_updates"),
    [*((name, 10) for name in ("apo_pg", "apo_reg", "apo_sft", "grpo", "gigpo", "rloo")), ("ppo", 20)],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_algorithm_on_three_seeds(tmp_path: Path, algo: str, num_updates: int, seed: int) -> None:
    overrides = (f"algo={algo}", f"seed={seed}", f"num_updates={num_updates}")
    _, folder = run_here(tmp_path, algo, *QUICK, *HALF, *overrides)
    assert curve(folder, "test/success")[num_updates] >= SOLVED
    sampled = list(curve(folder, "train/success").values())
    assert sampled[-1] > sampled[0] + 0.3


@pytest.mark.parametrize("loss_norm", ["trajectory_sum", "length"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weighted_sft_learns_under_either_loss_norm(tmp_path: Path, loss_norm: str, seed: int) -> None:
    """As `experiment=apo_sft_loss_norm`, with a smaller model and fewer updates."""
    overrides = ("algo=apo_sft", "algo.equal_groups=keep", f"algo.loss_norm={loss_norm}", f"seed={seed}")
    _, folder = run_here(tmp_path, loss_norm, *QUICK, *HALF, *overrides, "num_updates=10")
    assert curve(folder, "test/success")[10] >= SOLVED


def test_failed_episodes_of_the_untrained_policy_are_the_long_ones() -> None:
    """So a loss that leans towards short trajectories leans towards successes here."""
    trajectories = build("algo=apo_sft", sharpen=1.0, small=()).collect(100)
    won, lost = ([t for t in trajectories if (t.score == 1) is success] for success in (True, False))
    assert len(won) > 10
    assert mean(len(t.turns) for t in lost) > mean(len(t.turns) for t in won) + 2
    assert mean(t.num_action_tokens for t in lost) > 1.3 * mean(t.num_action_tokens for t in won)


def test_permuted_rewards_teach_nothing(tmp_path: Path) -> None:
    """The policy wanders, but on average not towards the goals: it stays nearer to where it was.

    Actions are sampled, for a greedy policy that wanders is at 0 or at 1. One seed may end anywhere.
    """
    before, after = [], []
    for seed in (1, 2, 3):
        _, folder = run_here(
            tmp_path,
            str(seed),
            *HALF,
            f"seed={seed}",
            "num_updates=12",
            "control=permuted_rewards",
            "evaluation={every: 12, val_episodes: 50, test_episodes: 5, temperature: 1.0}",
        )
        success = curve(folder, "val/success")
        before.append(success[0])
        after.append(success[12])
    untrained = mean(before)
    assert 0.15 < untrained < 0.45
    assert mean(after) < (untrained + 1) / 2
