"""A frozen configuration comes back typed; what other code wrote is one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from tests.support.shop5_parts import composed
from webshop_rl.algos.config import VstarAlgoConfig
from webshop_rl.config.load import as_typed, load
from webshop_rl.config.walk import walk
from webshop_rl.envs.shop5.config import Shop5Config
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import freeze
from webshop_rl.models.config import TinyConfig


@pytest.fixture(scope="module")
def frozen() -> dict[str, Any]:
    return freeze(composed("vstar.beta=inf", "model.lora.target_modules=[q_proj]")).config


def written(place: Path, config: dict[str, Any]) -> Path:
    path = place / "config.yaml"
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    return path


def test_each_group_is_its_variant_and_no_value_changes(tmp_path: Path, frozen: dict[str, Any]) -> None:
    config = load(written(tmp_path, frozen))
    assert isinstance(config.env, Shop5Config)
    assert isinstance(config.algo, VstarAlgoConfig)
    assert config.vstar.beta == float("inf")
    assert isinstance(config.model, TinyConfig)
    assert config.model.lora.target_modules == ["q_proj"]
    assert config.planned_updates == 60
    before, after = ({k.name: k.value for k in walk(tree)} for tree in (frozen, asdict(config)))
    assert after == before
    assert {name: type(value) for name, value in after.items()} == {n: type(v) for n, v in before.items()}


def test_the_budget_that_is_reached_first_counts() -> None:
    # 100 episodes are four collections of 4 x 8, an update each; ppo takes 4 updates a collection.
    assert as_typed(composed("num_episodes=100")).planned_updates == 4
    assert as_typed(composed("num_episodes=100", "num_updates=3")).planned_updates == 3
    assert as_typed(composed("num_episodes=100", "algo=ppo")).planned_updates == 16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["env"].update(colour="red"), "colour"),
        (lambda c: c["hardware"].update(gpus=1), "gpus"),
        (lambda c: c["env"].update(_target_="webshop_rl.envs.gone.Shop"), "no such env any more"),
        (lambda c: c["optim"].update(beta1="much"), "much"),
        (lambda c: c.pop("model"), "model"),
        (lambda c: c.update(env="shop5"), "shop5|str"),
    ],
)
def test_what_other_code_wrote_is_one_line(
    tmp_path: Path, frozen: dict[str, Any], change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    config = yaml.safe_load(yaml.safe_dump(frozen))
    change(config)
    path = written(tmp_path, config)
    with pytest.raises(UserError, match=rf"^{path}: the run was made by other code: .*({words})") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_key_that_is_missing_is_named(tmp_path: Path, frozen: dict[str, Any]) -> None:
    config = yaml.safe_load(yaml.safe_dump(frozen))
    del config["optim"]["beta1"]
    with pytest.raises(UserError, match=r"other code: .*optim\.beta1"):
        load(written(tmp_path, config))


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "\x00"])
def test_a_broken_file_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"^{path}: ") as caught:
        load(path)
    assert "\n" not in str(caught.value)
