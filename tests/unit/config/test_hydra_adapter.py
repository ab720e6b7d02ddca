"""What the platform knows of Hydra beyond its public interface still holds of the version installed."""

from __future__ import annotations

import ast

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.support.paths import REPOSITORY
from webshop_rl.config import hydra_adapter
from webshop_rl.config.hydra_adapter import apply_values, chooses_option
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import Composer
from webshop_rl.launching.plugin import LARGEST_SWEEP, grid

PACKAGE = REPOSITORY / "webshop_rl"


def test_hydras_private_parts_are_used_in_one_module() -> None:
    users = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hydra._"):
                users.add(path.relative_to(PACKAGE).as_posix())
    assert users == {"config/hydra_adapter.py"}


@pytest.mark.parametrize(
    ("override", "chooses"),
    [("algo=ppo", True), ("lr=1e-5", False), ("+algo@x=ppo", True), ("hydra.verbose=true", True)],
)
def test_overrides_that_choose_an_option_are_known(composer: Composer, override: str, chooses: bool) -> None:
    parsed = OverridesParser.create().parse_override(override)
    assert chooses_option(composer.loader, parsed) == chooses


def test_every_option_of_hydra_that_takes_a_word_is_known() -> None:
    options = get_args_parser()._actions
    taking = {word for option in options if option.nargs != 0 for word in option.option_strings}
    assert taking == hydra_adapter._WITH_VALUE


def test_values_are_applied_as_hydra_does(composer: Composer) -> None:
    cfg = composer.compose([])
    apply_values(OverridesParser.create().parse_overrides(["lr=0.5", "model.lora={enabled: true}"]), cfg)
    assert (cfg.lr, cfg.model.lora.enabled) == (0.5, True)


@pytest.mark.parametrize(
    "words",
    [
        ["seed=0,1", "lr=1e-5,2e-5", "algo=ppo"],
        ["seed=range(3)", "+x=a,'b c'"],
        ["seed=choice(1,2)", "seed=7", "num_updates=4"],
        ["algo=glob(apo*)"],
        ["optim.betas=[0.9,0.95],[0.8,0.9]", "env.name='a=b'"],
    ],
)
def test_a_grid_is_listed_as_hydra_lists_it(composer: Composer, words: list[str]) -> None:
    overrides = OverridesParser.create(config_loader=composer.loader).parse_overrides(words)
    assert grid(overrides) == BasicSweeper.split_arguments(overrides, None)[0]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("seed=range(0)", r"seed: range\(0\) contains no value \(range leaves its end out\)"),
        ("lr=interval(0,1)", r"lr: interval\(0,1\) cannot be listed \(choice"),
        (f"seed=range({LARGEST_SWEEP + 1})", "seed: .* makes more than 10,000 runs"),
    ],
)
def test_a_grid_that_cannot_be_listed_is_one_line(word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        grid(OverridesParser.create().parse_overrides([word]))
