"""Many configs of one grid, composed quickly and exactly as Hydra composes each.

Hydra reads and merges all files anew for each run (90 ms here). But plain `key=value` overrides are
applied last, on the finished composition, so runs that choose the same options share it: it is copied
and their values are applied to the copy by Hydra's own function.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from webshop_rl.config.hydra_adapter import ERRORS, apply_values, as_user_error, chooses_option, take_options
from webshop_rl.config.validate import validate, with_data
from webshop_rl.config.walk import Tree, plain, walk
from webshop_rl.launching.signature import Scalar, signature_fields, signature_of

# Fewer are checked in a second.
_MANY = 100


@dataclass(frozen=True)
class ComposedRun:
    """One run of a grid: its overrides, its resolved config with absolute paths, its identity."""

    overrides: tuple[str, ...]
    config: Tree
    fields: dict[str, Scalar]
    signature: str


class _Base(NamedTuple):
    """A composition without values of the command line, and the options of groups that it was made of."""

    pickled: bytes
    chosen: Mapping[str, str]


class Composer:
    """Composes the runs of one command.

    Args:
        loader: Hydra's config loader.
        master: the config Hydra composed for the command itself, `hydra` node included.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader = loader
        self.master = master
        self._parser = OverridesParser.create()
        self._parsed: dict[str, Override] = {}
        self._bases: dict[tuple[str, ...], _Base] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of one run, without Hydra's own node.

        Raises: UserError if it cannot be composed.
        """
        parsed = [self._parse(text) for text in overrides]
        values = [override for override in parsed if not chooses_option(self.loader, override)]
        try:
            cfg: DictConfig = pickle.loads(self._base(overrides).pickled)
            apply_values(values, cfg)
        except ERRORS as error:
            raise as_user_error(error) from error
        return cfg

    def runs(self, overrides: Sequence[Sequence[str]]) -> list[ComposedRun]:
        """The runs of a grid; as `run`, with a progress bar on a terminal where there are many."""
        distinct = dict.fromkeys(tuple(run) for run in overrides)
        watched = track(
            distinct,
            "checking runs",
            transient=True,
            console=Console(stderr=True),
            disable=len(distinct) < _MANY,
        )
        composed = {run: self.run(run) for run in watched}
        return [composed[tuple(run)] for run in overrides]

    def run(self, overrides: Sequence[str]) -> ComposedRun:
        """One run, checked, resolved and named.

        Raises: UserError if a value is missing, out of range, or names data that is not there.
        """
        return freeze(self.compose(overrides), overrides, self._base(overrides).chosen)

    def _base(self, overrides: Sequence[str]) -> _Base:
        options = tuple(text for text in overrides if chooses_option(self.loader, self._parse(text)))
        if options not in self._bases:
            cfg = self.loader.load_sweep_config(self.master, list(options))
            chosen = take_options(cfg)
            self._bases[options] = _Base(pickle.dumps(cfg), chosen)
        return self._bases[options]

    def _parse(self, text: str) -> Override:
        if text not in self._parsed:
            self._parsed[text] = self._parser.parse_override(text)
        return self._parsed[text]


def freeze(
    cfg: DictConfig, overrides: Sequence[str] = (), chosen: Mapping[str, str] | None = None
) -> ComposedRun:
    """Check a config and the data it names, resolve it, make its paths absolute from here, and name the run.

    Args:
        chosen: options of the config groups, as far as they are known.
    Raises: UserError if a value is missing, out of range, or names data that is not there.
    """
    try:
        tree = plain(cfg)
    except ERRORS as error:
        raise as_user_error(error) from error
    validate(tree, chosen)
    config = _with_absolute_paths(with_data(tree))
    fields = signature_fields(config)
    return ComposedRun(tuple(overrides), config, fields, signature_of(fields))


def _with_absolute_paths(tree: Tree) -> Tree:
    """Make places absolute, for workers have another working directory; what does not exist is a name."""
    for key in walk(tree):
        if key.facts.place and key.value:
            place = Path(key.value).expanduser()
            if key.name == "root" or place.exists():
                _set(tree, key.name, str(place.resolve()))
    return tree


def _set(tree: Tree, name: str, value: str) -> None:
    *sections, last = name.split(".")
    for section in sections:
        tree = tree[section]
    tree[last] = value
