"""What Hydra calls for `-m`: the grid sweeper that lists the runs and the launcher that executes them.

Hydra imports this at every start, so everything costly is imported where it is used.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Not before Hydra has looked for plugins: it runs this module anew then, and there would be two of the class.
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from webshop_rl.errors import EXIT_BAD_INPUT, UserError

# Runs of one sweep. Each is composed, checked and planned before the first one starts, some 10 ms.
LARGEST_SWEEP = 10_000


@dataclass
class LauncherConfig:
    """Hydra's view of the launcher; what it does is set by the groups `hardware` and `sweep`."""

    _target_: str = "hydra_plugins.webshop_rl_launcher.Launcher"


@dataclass
class SweeperConfig:
    """As Hydra's basic sweeper, so that `hydra.sweeper.params` in a file works as usual."""

    _target_: str = "hydra_plugins.webshop_rl_launcher.Sweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


class SweepLauncher(Launcher):  # type: ignore[misc]
    """Executes a batch of runs, each in its own process or job; see webshop_rl.launching.execute."""

    def __init__(self) -> None:
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.grid: Sequence[Sequence[str]] = ()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """One JobReturn per override list, in order; those of failed runs have status FAILED.

        Raises: SystemExit(2) after one line on stderr if the input is bad: no run was started.
        """
        from webshop_rl.launching.compose import Composer
        from webshop_rl.launching.multirun import run_sweep

        assert self.hydra_context is not None
        assert self.config is not None
        try:
            composer = Composer(self.hydra_context.config_loader, self.config)
            return run_sweep(composer, job_overrides, self.grid)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_BAD_INPUT) from None


class GridSweeper(BasicSweeper):  # type: ignore[misc]
    """Hydra's basic sweeper, less its composition of every run only to see whether that works.

    The launcher composes each run once itself, before anything starts. A failed run ends the command
    with exit code 1 instead of a stack trace: the launcher has named its error by then.
    """

    def sweep(self, arguments: list[str]) -> Any:
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        _check_size(overrides)
        returns: list[Sequence[JobReturn]] = []
        batches = self.split_arguments(overrides, self.max_batch_size)
        self.launcher.grid = [run for batch in batches for run in batch]
        for batch in batches:
            done = sum(len(results) for results in returns)
            returns.append(self.launcher.launch(batch, initial_job_idx=done))
        self.hydra_context.callbacks.on_multirun_end(config=self.config, config_name=None)
        _exit_if_failed(returns)
        return returns


def _check_size(overrides: Sequence[Override]) -> None:
    """Before the runs are listed. Raises: UserError if there is nothing to sweep over, or far too much."""
    runs = 1
    for override in overrides:
        if not override.is_discrete_sweep():
            continue  # interval() cannot be listed either; split_arguments refuses it
        chosen = override.get_value_string()
        runs *= sum(1 for _ in itertools.islice(override.sweep_string_iterator(), LARGEST_SWEEP + 1))
        if runs == 0:
            remedy = "range leaves its end out" if override.is_range_sweep() else "--help lists the options"
            raise UserError(f"{chosen} is no value at all", where=override.key_or_group, remedy=remedy)
        if runs > LARGEST_SWEEP:
            raise UserError(
                f"{chosen} makes more than {LARGEST_SWEEP:,} runs",
                where=override.key_or_group,
                remedy="several sweeps may share a root",
            )


def _exit_if_failed(returns: Sequence[Sequence[JobReturn]]) -> None:
    from webshop_rl.launching.multirun import exit_code

    code = exit_code([job for results in returns for job in results])
    if code:
        raise SystemExit(code)
