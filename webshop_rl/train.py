"""The command that trains: what launch.py and `webshop-rl train` do."""

from __future__ import annotations

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from webshop_rl.cli import one_line_errors
from webshop_rl.config import register
from webshop_rl.config.hydra_adapter import CONF, chosen_options, composition_errors, ordered, refuse_removals


@hydra.main(  # type: ignore[untyped-decorator]
    version_base="1.3", config_path=str(CONF), config_name="config"
)
def _train(cfg: DictConfig) -> float:
    """Run one configuration and return its objective (the test score) to Hydra."""
    # Within, for Hydra prints a line of its own before it lets an error pass.
    with one_line_errors(), composition_errors():
        # Imported late: --help and --cfg job must answer without loading torch.
        from webshop_rl.launching.single import run_single

        composed = HydraConfig.get()
        return run_single(cfg, composed.overrides.task, chosen_options(composed))


def main() -> int:
    """Train one run, or with -m sweep many, as sys.argv says; returns 0.

    Raises: UserError before anything was started if the input is bad; SystemExit(1) if a run failed.
    """
    sys.argv[1:] = ordered(sys.argv[1:])
    register()
    refuse_removals(sys.argv[1:])
    with composition_errors():
        _train()
    return 0
