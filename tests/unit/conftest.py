"""What the unit tests of several rooms need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from webshop_rl.config import register
from webshop_rl.config.hydra_adapter import CONF
from webshop_rl.launching.compose import Composer


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    """Of the sweep `seed=1,2` of the default run."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra: Any = GlobalHydra.instance().hydra
        master = hydra.compose_config(
            "config", overrides=["seed=1,2"], run_mode=RunMode.MULTIRUN, with_log_configuration=False
        )
        yield Composer(hydra.config_loader, master)
