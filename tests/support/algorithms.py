"""The settings of an algorithm's file in conf/."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from tests.support.paths import CONF


def algo_settings(name: str, **change: Any) -> dict[str, Any]:
    """The keys of conf/algo/NAME.yaml as its class takes them, with some of them changed."""
    settings: Any = OmegaConf.to_container(OmegaConf.load(CONF / "algo" / f"{name}.yaml"))
    del settings["defaults"]
    return {**settings, **change}
