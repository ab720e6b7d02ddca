"""Episodes, and engines that sample them: errors that a test must notice."""

from __future__ import annotations

from tests.mutants.mutant import UNIT, Mutant, of

EPISODE = (UNIT + "rollout/test_episode.py",)
ENGINES = (UNIT + "rollout/engines/test_masks.py",)

MUTANTS: list[Mutant] = [
    *of(
        "rollout/episode.py",
        EPISODE,
        (
            "truncated is bought",
            "EndReason.BOUGHT if step.terminated else EndReason.MAX_STEPS",
            "EndReason.BOUGHT",
        ),
        (
            "a step's reward counts as score",
            "self.trajectory.score = step.score",
            "self.trajectory.score = step.score or step.reward",
        ),
    ),
    *of(
        "rollout/episode.py",
        (UNIT + "rollout/test_collector.py",),
        ("the penalty is a bonus", "reward=step.reward - penalty", "reward=step.reward + penalty"),
    ),
    *of(
        "rollout/engines/masks.py",
        ENGINES,
        ("what was said is forgotten", 'self._read(plain["said"])', "self._read([])"),
        ("padding is sampled", "logits[self._ids.to(logits.device)] = -torch.inf", "pass"),
        ("a thought goes on after its end", "or not _same_masks(episode.ahead(), ahead)", ""),
    ),
    *of(
        "rollout/engines/weights.py",
        (UNIT + "rollout/engines/test_weights.py",),
        (
            "adapters stay behind",
            "(value.float() + module.get_delta_weight(adapter).float())",
            "value.float()",
        ),
        ("a step goes unnoticed", "parameter._version for", "parameter.shape for"),
    ),
]
