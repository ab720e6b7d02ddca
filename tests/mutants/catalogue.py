"""All mutants, room by room."""

from __future__ import annotations

from tests.mutants import of_algos, of_config, of_envs, of_models, of_rollout, of_training

MUTANTS = [
    *of_algos.MUTANTS,
    *of_config.MUTANTS,
    *of_envs.MUTANTS,
    *of_models.MUTANTS,
    *of_rollout.MUTANTS,
    *of_training.MUTANTS,
]
