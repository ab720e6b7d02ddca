"""What the benchmarks of the tiny model have in common: their options, and configurations by overrides."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir

from webshop_rl.config import validate
from webshop_rl.config.hydra_adapter import CONF
from webshop_rl.config.load import as_typed
from webshop_rl.config.schema import RunConfig


def speed_parser(description: str | None, *, episodes: str) -> argparse.ArgumentParser:
    """A parser with --data-dir, --episodes and --repeats.

    Args:
        description: of the command.
        episodes: what --episodes says of them.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data-dir", default=os.environ.get("WEBSHOP_DATA_DIR"), help="adds the real WebShop"
    )
    parser.add_argument("--episodes", type=int, default=64, help=episodes)
    parser.add_argument("--repeats", type=int, default=3, help="the best counts")
    return parser


def peer_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of what is measured beside TRL: --data-dir, --repeats and overrides.

    Args:
        description: of the command.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", default=os.environ.get("WEBSHOP_DATA_DIR"), help="the real WebShop")
    parser.add_argument("--repeats", type=int, default=3, help="of each, in turns")
    parser.add_argument("overrides", nargs="*", help="of the configuration, e.g. model=smollm2_135m")
    return parser


def peer_shop(data_dir: str | None) -> list[str]:
    """Overrides of the shop that is measured beside TRL: with its data the real one, in short episodes."""
    if not data_dir:
        return ["env=shop5"]
    return ["env=webshop", f"env.data_dir={Path(data_dir).resolve()}", "env.max_steps=6"]


def configured(overrides: Sequence[str]) -> RunConfig:
    """A configuration, of the tiny model if no other is named, checked; `register` comes first."""
    if not any(override.startswith("model=") for override in overrides):
        overrides = ["model=tiny", *overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=list(overrides))
    validate(cfg)
    return as_typed(cfg)
