"""The six stages: what is on sale, who is held out, what stands in for data that are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tests.support.paths import REPOSITORY
from webshop_rl.config import register, validate
from webshop_rl.config.hydra_adapter import CONF
from webshop_rl.config.load import as_typed
from webshop_rl.config.validate import with_data
from webshop_rl.construct import construct_shop
from webshop_rl.envs.ladder.difficulty import by_difficulty
from webshop_rl.envs.splits import product_split
from webshop_rl.envs.types import SPLITS
from webshop_rl.envs.webshop.catalogue import leaders_of, load_products
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.errors import UserError
from webshop_rl.evaluation.episodes import describe_episodes
from webshop_rl.run_record import run_tags

STAGES = [f"stage{number}" for number in range(1, 7)]
SIZES = {"stage1": (5, 0), "stage2": (15, 0), "stage3": (40, 10), "stage4": (50, 50), "stage5": (100, 400)}

Stages = Callable[..., WebShop]


def group(name: str, *overrides: str) -> dict[str, Any]:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[f"env={name}", *overrides])
    validate(cfg)
    found = OmegaConf.to_container(cfg.env, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stages:
    """The shop of a stage, without data unless a folder is given."""
    monkeypatch.delenv("WEBSHOP_DATA_DIR", raising=False)

    def build(name: str, data_dir: Path | None = None, *overrides: str) -> WebShop:
        words = [*overrides, *([f"env.data_dir={data_dir}"] if data_dir else [])]
        shop: WebShop = construct_shop(group(name, *words))
        return shop

    return build


def identities(shop: WebShop, split: str) -> set[tuple[str, str]]:
    """Products by title and price: what they are, whatever code they have in this stage."""
    asins = {goal.asin for goal in shop.goals(split)}
    return {(p.title, p.price_tag) for p in shop.products if p.asin in asins}


@pytest.mark.parametrize("name", STAGES)
def test_what_is_on_sale(stage: Stages, webshop_data_dir: Path, name: str) -> None:
    shop = stage(name, webshop_data_dir if name not in ("stage1", "stage2") else None)
    generated = [p for p in shop.products if p.asin.startswith(("GEN", "P"))]
    num_generated, num_real = SIZES.get(name, (0, 1000))
    assert (len(generated), len(shop.products) - len(generated)) == (num_generated, num_real)
    assert not shop.remarks
    assert all(shop.goals(split) for split in SPLITS)


def test_codes_begin_in_the_third_stage(stage: Stages) -> None:
    assert {product.asin for product in stage("stage1").products} == {"P01", "P02", "P03", "P04", "P05"}
    assert all(len(product.asin) == 10 for product in stage("stage3").products)


@pytest.mark.parametrize("data", [False, True])
def test_no_stage_trains_on_what_another_tests(
    stage: Stages, data: bool, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue("webshop_data_dir") if data else None
    shops = [stage(name, folder if place > 1 else None) for place, name in enumerate(STAGES)]
    trained = set.union(*(identities(shop, "train") for shop in shops))
    for shop in shops[1:]:
        assert not trained & (identities(shop, "val") | identities(shop, "test"))
    held_out = {goal.instruction for split in ("val", "test") for goal in shops[0].goals(split)}
    assert not held_out & {goal.instruction for shop in shops for goal in shop.goals("train")}
    for shop in shops[:5]:  # the five of the first stage are training products in all that sell them
        assert {"red shoes", "green backpack"} <= {title for title, _ in identities(shop, "train")}


def test_a_later_stage_sells_what_an_earlier_one_sold(stage: Stages, webshop_data_dir: Path) -> None:
    shops = [stage(name, webshop_data_dir) for name in STAGES[2:]]
    real = [{p.asin for p in shop.products if not p.asin.startswith("GEN")} for shop in shops]
    assert real[0] < real[1] < real[2] < real[3]
    mock = [{p.asin for p in shop.products if p.asin.startswith("GEN")} for shop in shops]
    assert mock[0] < mock[1] < mock[2]


def test_the_easiest_real_products_of_each_split_come_first(stage: Stages, webshop_data_dir: Path) -> None:
    """Of ten 7 for training, 1 for validation, 2 for test, each the easiest of its split."""
    products = load_products(webshop_data_dir, num_products=1000)
    leaders = leaders_of(products)
    ranked = [each.product.asin for each in by_difficulty(products)]
    homes = {split: [a for a in ranked if product_split(leaders.get(a, a)) == split] for split in SPLITS}
    for name, tens in (("stage3", 1), ("stage4", 5)):
        sold = {p.asin for p in stage(name, webshop_data_dir).products if not p.asin.startswith("GEN")}
        easiest = [*homes["train"][: 7 * tens], *homes["val"][:tens], *homes["test"][: 2 * tens]]
        assert sold == set(easiest)


def test_a_real_product_is_in_the_split_of_the_real_shop(stage: Stages, webshop_data_dir: Path) -> None:
    whole = WebShop(data_dir=str(webshop_data_dir))
    homes = {goal.asin: split for split in SPLITS for goal in whole.goals(split)}
    moved_by_twins = [asin for asin, split in homes.items() if product_split(asin) != split]
    assert moved_by_twins  # else the test would not notice a rule of its own
    for name in STAGES[2:]:
        shop = stage(name, webshop_data_dir)
        for split in SPLITS:
            asins = {goal.asin for goal in shop.goals(split) if not goal.asin.startswith("GEN")}
            assert all(homes[asin] == split for asin in asins)


def test_the_last_stage_is_the_real_shop(stage: Stages, webshop_data_dir: Path) -> None:
    rules = {"reward": "shaped", "shaping_search": 0.3, "shaping_open": 0.3}
    real, last = WebShop(data_dir=str(webshop_data_dir), **rules), stage("stage6", webshop_data_dir)  # type: ignore[arg-type]
    assert last.digest() == real.digest()
    assert last.split_digest() == real.split_digest()


def test_generated_products_stand_in_and_that_is_said(stage: Stages) -> None:
    shop = stage("stage3")
    assert shop.remarks == ("10 generated products stand in for real ones (no env.data_dir)",)
    assert len(shop.products) == 50
    assert len(stage("stage6").products) == 1000
    played = [{"goal": goal.id, "asin": goal.asin} for goal in shop.goals("test")[:3]]
    assert describe_episodes(shop, "test", played).endswith("; " + shop.remarks[0])
    cfg = as_typed(_whole("env=stage3"))
    assert run_tags(Path("somewhere"), cfg, shop, {})["shop_remarks"] == shop.remarks[0]
    assert run_tags(Path("somewhere"), cfg, stage("stage2"), {})["shop_remarks"] == ""


def _whole(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = OmegaConf.to_container(compose("config", overrides=list(overrides)))
    assert isinstance(cfg, dict)
    cfg["root"] = "."
    return {str(key): value for key, value in cfg.items()}


def test_the_digest_is_the_same_in_another_process_and_tells_catalogues_apart(stage: Stages) -> None:
    script = (
        "import json, sys\n"
        "from webshop_rl.construct import construct_shop\n"
        "shop = construct_shop(json.loads(sys.argv[1]))\n"
        "print(shop.digest(), shop.split_digest())"
    )
    shop, stage4 = stage("stage4"), json.dumps(group("stage4"))
    for hash_seed in ("1", "2"):
        variables = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", script, stage4],
            capture_output=True, text=True, check=True, cwd=REPOSITORY, env=variables,
        )  # fmt: skip
        assert done.stdout.split() == [shop.digest(), shop.split_digest()]
    assert stage("stage4", None, "env.catalogue_seed=1").digest() != stage("stage4").digest()
    assert len({stage(name).digest() for name in STAGES}) == len(STAGES)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (("env.mock_products=0",), "nothing is on sale"),
        (("env.real_products=10",), "asked for in one way"),
    ],
)
def test_stages_that_cannot_be_are_refused(overrides: tuple[str, ...], why: str) -> None:
    with pytest.raises(UserError, match=why):
        group("stage1", *overrides)


def test_more_real_products_than_there_are_is_refused(stage: Stages, webshop_data_dir: Path) -> None:
    with pytest.raises(UserError, match="only 20 real products"):
        stage("stage5", webshop_data_dir, "env.num_products=20")


def test_missing_data_is_found_before_anything_starts(tmp_path: Path) -> None:
    tree = {**_whole("env=stage3"), "env": {**group("stage3"), "data_dir": str(tmp_path / "nowhere")}}
    with pytest.raises(UserError, match="no such folder"):
        with_data(tree)


def test_a_stage_is_its_keys_and_nothing_of_its_folder(stage: Stages, webshop_data_dir: Path) -> None:
    """Where real products are not on sale, the data change nothing."""
    assert stage("stage2", webshop_data_dir).digest() == stage("stage2").digest()
    assert asdict(as_typed(_whole("env=stage2")).env)["data_dir"] is None
