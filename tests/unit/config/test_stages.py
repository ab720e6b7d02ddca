"""Curricula of conf/, and stages that are refused before anything starts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from webshop_rl.build import build_shop
from webshop_rl.config import register, validate
from webshop_rl.config.hydra_adapter import CONF
from webshop_rl.config.load import as_typed
from webshop_rl.config.stages import stage_groups
from webshop_rl.config.validate import with_data
from webshop_rl.config.walk import Tree, plain
from webshop_rl.envs.staged import StagedShop
from webshop_rl.errors import UserError
from webshop_rl.launching.signature import signature_fields
from webshop_rl.statistics import wilson


def tree(*overrides: str) -> Tree:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose("config", overrides=list(overrides)))


def test_the_stages_of_stages6_are_those_of_conf_env() -> None:
    run = tree("curriculum=stages6")
    groups = stage_groups(run["env"], run["curriculum"]["stages"])
    alone = [tree(f"env=stage{number}")["env"] for number in range(1, 7)]
    for group, own in zip(groups, alone, strict=True):
        # Where no real product is on sale, the folder of the data changes nothing.
        folder = {} if own["real_products"] != 0 else {"data_dir": group["data_dir"]}
        assert group == {**own, **folder}


def test_products_10_50_100_1000_are_real_ones() -> None:
    run = tree("curriculum=products_10_50_100_1000")
    groups = stage_groups(run["env"], run["curriculum"]["stages"])
    assert [(group["mock_products"], group["real_products"]) for group in groups] == [
        (0, 10),
        (0, 50),
        (0, 100),
        (0, None),
    ]


def test_without_a_curriculum_there_is_one_shop() -> None:
    cfg = as_typed(tree("env=stage1"))
    assert not isinstance(build_shop(cfg.env, cfg.curriculum), StagedShop)
    assert "curriculum.stages" in signature_fields({**asdict(cfg)})


def test_a_curriculum_is_several_shops_with_the_keys_of_env_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WEBSHOP_DATA_DIR", raising=False)
    cfg = as_typed(tree("curriculum=products_10_50_100_1000", "env.max_steps=7"))
    shop = build_shop(cfg.env, cfg.curriculum)
    assert isinstance(shop, StagedShop)
    assert [len(stage.products) for stage in shop.stages.values()] == [10, 50, 100, 1000]  # type: ignore[attr-defined]
    assert shop.max_steps == 7
    assert shop.remarks[0] == ("products_10: 10 generated products stand in for real ones (no env.data_dir)")


@pytest.mark.parametrize("window", [5, 16, 34, 35, 64, 200])
def test_a_window_must_be_able_to_show_what_is_asked_for(window: int) -> None:
    most, least = wilson(window, window)[0], wilson(0, window)[1]
    run = tree("curriculum=stages6", f"curriculum.window={window}")
    if most > 0.8 and least < 0.1:
        validate(run)
    else:
        with pytest.raises(UserError, match=r"curriculum.window: so few episodes"):
            validate(run)
    assert (most > 0.8 and least < 0.1) == (window >= 35)


@pytest.mark.parametrize(
    ("stages", "why"),
    [
        ("[{mock_products: 5}]", "stage 1 needs a name"),
        ("[{name: a}, {name: a}]", "stage 2 needs a name"),
        ("[{name: 'A B'}]", "stage 1 needs a name"),
        ("[a]", "stage 1 needs a name"),
        ("[{name: a, prodcts: 5}]", "a: env=stage6 has no key prodcts"),
        ("[{name: a, _target_: os.system}]", "has no key _target_"),
        ("[{name: a, mock_products: many}]", "a: .*many"),
        ("[{name: a, mock_products: -1}]", "a: env.mock_products must be >= 0"),
        ("[{name: a, split: half}]", "a: env.split must be one of"),
        ("[{name: a, real_products: 0}]", "a: env.mock_products: nothing is on sale"),
    ],
)
def test_stages_that_cannot_be_are_one_line(stages: str, why: str) -> None:
    run: dict[str, Any] = tree("curriculum=stages6")
    run["curriculum"]["stages"] = OmegaConf.to_container(OmegaConf.create(stages))
    with pytest.raises(UserError, match=why) as refused:
        validate(run)
    assert "\n" not in str(refused.value)


def test_stages_of_another_shop_are_refused() -> None:
    with pytest.raises(UserError, match="env=shop5 has no key mock_products"):
        validate(tree("curriculum=stages6", "env=shop5"))


def test_a_demotion_at_once_is_refused() -> None:
    with pytest.raises(UserError, match=r"not below curriculum\.promote_at"):
        validate(tree("curriculum=stages6", "curriculum.demote_below=0.9"))


def test_the_data_of_stages_is_looked_for(tmp_path: Path) -> None:
    """The shop of env needs none here, its stages do."""
    run = tree("curriculum=stages6", "env=stage1", f"env.data_dir={tmp_path / 'nowhere'}")
    with pytest.raises(UserError, match="no such folder"):
        with_data(run)
