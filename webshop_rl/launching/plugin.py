"""What Hydra calls for `-m`: the grid sweeper that lists the runs and the launcher that executes them.

Hydra imports this at every start, so everything costly is imported where it is used.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
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
    params: dict[str, str] | None = None


class RunError(Exception):
    """Why a run of a sweep has no objective, in one line."""


class SweepLauncher(Launcher):  # type: ignore[misc]
    """Executes the runs of a sweep, each in its own process or job; see webshop_rl.launching.execute."""

    def __init__(self) -> None:
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.exit_code = 0

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """One JobReturn per override list, in order; those of failed runs have status FAILED.

        Raises: SystemExit(2) after one line on stderr if the input is bad: no run was started.
        """
        from webshop_rl.launching.compose import Composer
        from webshop_rl.launching.execute import execute_sweep
        from webshop_rl.launching.sweep import sweep_of

        assert self.hydra_context is not None
        assert self.config is not None
        try:
            runs = Composer(self.hydra_context.config_loader, self.config).runs(job_overrides)
            outcomes = execute_sweep(sweep_of(runs), runs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_BAD_INPUT) from None
        self.exit_code = max(outcome.exit_code for outcome in outcomes)
        jobs = []
        for run, outcome in zip(runs, outcomes, strict=True):
            job = JobReturn(
                overrides=list(run.overrides), working_dir=str(outcome.folder.path), task_name="launch"
            )
            job.status = JobStatus.FAILED if outcome.exit_code else JobStatus.COMPLETED
            job.return_value = RunError(outcome.error) if outcome.exit_code else outcome.objective
            jobs.append(job)
        return jobs


class GridSweeper(Sweeper):  # type: ignore[misc]
    """Lists a grid as Hydra's basic sweeper does, without its composition of every run to see that it works.

    The launcher composes each run once itself, before anything starts. A failed run ends the command
    with exit code 1 instead of a stack trace: the launcher has named its error by then.

    Args:
        params: overrides that a file gives under `hydra.sweeper.params`; the command line wins.
    """

    def __init__(self, params: dict[str, str] | None = None) -> None:
        self.params = params or {}
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        listed = [f"{key}={value}" for key, value in self.params.items()]
        runs = grid(parser.parse_overrides([*listed, *arguments]))
        jobs = self.launcher.launch(runs, initial_job_idx=0)
        self.hydra_context.callbacks.on_multirun_end(config=self.config, config_name=None)
        if any(job.status == JobStatus.FAILED for job in jobs):
            raise SystemExit(getattr(self.launcher, "exit_code", 1))
        return [jobs]


def grid(overrides: Sequence[Override]) -> list[list[str]]:
    """The overrides of each run, every choice of one key with every choice of the others.

    Raises: UserError if there is nothing to sweep over, far too much, or what cannot be listed.
    """
    choices: dict[str, list[str]] = {}
    runs = 1
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [f"{key}={override.get_value_element_as_str()}"]
            continue
        written = override.get_value_string()
        if not override.is_discrete_sweep():
            raise UserError(
                f"{written} cannot be listed", where=override.key_or_group, remedy="choice(...) or range(...)"
            )
        values = list(itertools.islice(override.sweep_string_iterator(), LARGEST_SWEEP + 1))
        choices[key] = [f"{key}={value}" for value in values]
        runs *= len(values)
        if runs == 0:
            remedy = "range leaves its end out" if override.is_range_sweep() else "--help lists the options"
            raise UserError(f"{written} contains no value", where=override.key_or_group, remedy=remedy)
        if runs > LARGEST_SWEEP:
            raise UserError(
                f"{written} makes more than {LARGEST_SWEEP:,} runs",
                where=override.key_or_group,
                remedy="several sweeps may share a root",
            )
    return [list(run) for run in itertools.product(*choices.values())]
