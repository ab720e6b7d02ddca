"""Train one run, or with -m sweep many: `python launch.py [-m] [group=option] [key=value]`."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from webshop_rl.composition import told_in_one_line
from webshop_rl.config import register, validate
from webshop_rl.errors import EXIT_BAD_INPUT, UserError
from webshop_rl.screen import keep_screen

register()


@hydra.main(  # type: ignore[untyped-decorator]
    version_base="1.3", config_path="conf", config_name="config"
)
def main(cfg: DictConfig) -> float:
    """Run one configuration and return its objective (the test score) to Hydra."""
    try:
        validate(cfg)
        # Imported late: --help and --cfg job must answer without loading torch.
        from webshop_rl.launching.single import run_single

        return run_single(cfg)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


if __name__ == "__main__":
    keep_screen()
    with told_in_one_line():
        main()
