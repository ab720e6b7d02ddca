"""Hardware for tests of what is asked of Slurm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.support.shop5_parts import composed
from webshop_rl.config.groups import HardwareConfig
from webshop_rl.config.load import as_typed


def hardware(name: str, *overrides: str) -> HardwareConfig:
    """A file of conf/hardware."""
    return as_typed(composed(f"hardware={name}", "hardware.threads=null", *overrides)).hardware


def asking(given: HardwareConfig, **changed: Any) -> HardwareConfig:
    """The same with other keys under `slurm`."""
    return replace(given, slurm=replace(given.slurm, **changed))
