"""The loss curves of ten updates on fixed seeds, and how to record them anew.

A change that should change nothing leaves them as they are. One that should change them records them
anew, on the machine that checks them, in the same commit and with the reason:

    python -m tests.support.golden_losses

Another machine may round differently; should a sampled token flip there, its curve departs for good.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.support.paths import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "golden" / "ten_updates.json"
COMMON = (
    "num_updates=10",
    "seed=1",
    "model.hidden_size=64",
    "model.num_layers=2",
    "evaluation.every=10",
    "evaluation.val_episodes=5",
    "evaluation.test_episodes=5",
)
RUNS = {
    "apo_pg": ("algo=apo_pg",),
    "apo_sft": ("algo=apo_sft",),
    "ppo": ("algo=ppo",),
    "apo_pg, free, think, T .7, top_p .9, LoRA": (
        "algo=apo_pg", "rollout.decoding=free", "rollout.max_reply_tokens=10", "rollout.think=true",
        "rollout.max_think_tokens=5", "rollout.temperature=0.7", "rollout.top_p=0.9",
        "rollout.invalid_penalty=0.1", "rollout.context_overflow=drop_oldest", "model.context_tokens=100",
        "model.lora.enabled=true", "algo.num_epochs=2", "algo.kl_coef=0.01",
        "algo.entropy_coef=0.01", "algo.group_size=4", "env.max_steps=5",
    ),
}  # fmt: skip
KEYS = ("optim/loss", "optim/grad_norm", "train/return_mean", "vstar/mean", "test/return_mean")


def record(name: str) -> dict[str, dict[str, float]]:
    """Metric to step to value of one of the runs."""
    from tests.support.shop5_parts import curve, run_here

    with tempfile.TemporaryDirectory() as root:
        _, folder = run_here(Path(root), "golden", *COMMON, *RUNS[name])
        return {key: {str(step): v for step, v in curve(folder, key).items()} for key in KEYS}


if __name__ == "__main__":
    import os

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps({name: record(name) for name in RUNS}, indent=1) + "\n")
