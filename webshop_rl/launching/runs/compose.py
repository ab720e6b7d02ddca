"""Many configs of one grid, composed quickly and exactly as Hydra composes each.

Hydra reads and merges all files anew for each run (90 ms here). But plain `key=value` overrides are
applied last, on the finished composition, so runs that choose the same groups share it: it is copied
and their values are applied to the copy by Hydra's own function (some 4 ms, most of it the check of
ranges).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict

from webshop_rl.composition import ERRORS, as_user_error
from webshop_rl.launching.runs.signature import Scalar, is_location, signature_fields, signature_of

Tree = dict[str, Any]


@dataclass(frozen=True)
class ComposedRun:
    """One run of a grid: its overrides, its resolved config with absolute paths, its identity."""

    overrides: tuple[str, ...]
    config: Tree
    fields: dict[str, Scalar]
    signature: str


class Composer:
    """Composes the runs of one command.

    Args:
        loader: Hydra's config loader.
        master: the config Hydra composed for the command itself, `hydra` node included.
        validate: raises UserError for a config with a value missing or out of range.
    """

    def __init__(
        self, loader: ConfigLoader, master: DictConfig, validate: Callable[[DictConfig], None]
    ) -> None:
        assert isinstance(loader, ConfigLoaderImpl)
        self.loader, self.master, self._validate = loader, master, validate
        self._parser = OverridesParser.create()
        self._parsed: dict[str, Override] = {}
        self._bases: dict[tuple[str, ...], bytes] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of one run, without Hydra's own node.

        Raises: UserError if it cannot be composed.
        """
        parsed = [self._parse(text) for text in overrides]
        whole = tuple(t for t, o in zip(overrides, parsed, strict=True) if not self._is_plain_value(o))
        values = [o for o in parsed if self._is_plain_value(o)]
        try:
            cfg: DictConfig = pickle.loads(self._base(whole))
            ConfigLoaderImpl._apply_overrides_to_config(values, cfg)
        except ERRORS as error:
            raise as_user_error(error) from error
        return cfg

    def run(self, overrides: Sequence[str]) -> ComposedRun:
        """One run, checked, resolved and named.

        Raises: UserError if a value is missing, out of range, or names data that is not there.
        """
        cfg = self.compose(overrides)
        try:
            self._validate(cfg)
            return freeze(cfg, overrides)
        except ERRORS as error:
            raise as_user_error(error) from error

    def _base(self, whole: tuple[str, ...]) -> bytes:
        if whole not in self._bases:
            cfg = self.loader.load_sweep_config(self.master, list(whole))
            with open_dict(cfg):
                del cfg["hydra"]
            self._bases[whole] = pickle.dumps(cfg)
        return self._bases[whole]

    def _parse(self, text: str) -> Override:
        if text not in self._parsed:
            self._parsed[text] = self._parser.parse_override(text)
        return self._parsed[text]

    def _is_plain_value(self, override: Override) -> bool:
        """Whether the override only sets a value of the finished composition."""
        return (
            override.type == OverrideType.CHANGE
            and override.package is None
            and not override.is_hydra_override()
            and (
                isinstance(override.value(), dict)
                or not self.loader.repository.group_exists(override.key_or_group)
            )
        )


def freeze(cfg: DictConfig, overrides: Sequence[str] = ()) -> ComposedRun:
    """Resolve a valid config, and make its paths absolute from here.

    Raises: UserError if it names data that is not there.
    """
    tree = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(tree, dict)
    config = _with_absolute_paths(tree, "")
    fields = signature_fields(config)
    return ComposedRun(tuple(overrides), config, fields, signature_of(fields))


def _with_absolute_paths(tree: Any, prefix: str) -> Tree:
    """The workers run elsewhere, so places are fixed now; what does not exist is no place of ours."""
    result = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            value = _with_absolute_paths(value, f"{name}.")
        elif (
            isinstance(value, str)
            and is_location(name)
            and (name == "root" or Path(value).expanduser().exists())
        ):
            value = str(Path(value).expanduser().resolve())
        result[key] = value
    return result
