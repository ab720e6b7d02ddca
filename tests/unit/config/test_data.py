"""The data that a configuration names: looked for in a step of its own, without a catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from webshop_rl.config import register, validate
from webshop_rl.config.hydra_adapter import CONF
from webshop_rl.config.validate import with_data
from webshop_rl.config.walk import Tree, plain
from webshop_rl.construct import construct_shop
from webshop_rl.envs.webshop import catalogue
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import freeze

FILES = {
    "items_shuffle_1000.json": [{"asin": "A"}],
    "items_ins_v2_1000.json": {},
    "items_human_ins.json": {},
    "title_nouns.json": {},
}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Files that start as they should, with products that nobody could read."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def webshop(data_dir: Path, *overrides: str) -> Tree:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", ["env=webshop", f"env.data_dir={data_dir}", f"root={data_dir}/r", *overrides])
    return plain(cfg)


def test_no_catalogue_is_built_at_launch(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(*args: object, **options: object) -> None:
        raise AssertionError("a catalogue was built")

    monkeypatch.setattr(catalogue, "load_products", built)
    monkeypatch.setattr("webshop_rl.construct.construct", built)
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", ["env=webshop", f"env.data_dir={data_dir}", f"root={data_dir}/r"])
    assert freeze(cfg).config["env"]["data_dir"] == str(data_dir)
    with pytest.raises(AssertionError):
        construct_shop(plain(cfg)["env"])


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_or_no_json_is_named(data_dir: Path, name: str) -> None:
    tree = webshop(data_dir)
    with_data(tree)
    (data_dir / name).write_text("<html>sign in</html>")
    validate(tree)  # looks at no file
    with pytest.raises(UserError, match=f"{name}: not the JSON that is expected"):
        with_data(tree)
    (data_dir / name).unlink()
    with pytest.raises(UserError, match=rf"{name}.*: no such file"):
        with_data(tree)


def test_a_catalogue_that_is_too_small_by_its_name_is_refused(data_dir: Path) -> None:
    with pytest.raises(UserError, match=r"items_shuffle_1000\.json: holds only 1000 products, 2000"):
        with_data(webshop(data_dir, "env.num_products=2000"))
    with_data(webshop(data_dir, "env.num_products=null"))


def test_a_first_record_that_is_broken_is_named(data_dir: Path) -> None:
    (data_dir / "items_shuffle_1000.json").write_text('[{"asin": ')
    with pytest.raises(UserError, match="record 0"):
        with_data(webshop(data_dir))


def test_validate_changes_nothing(data_dir: Path) -> None:
    tree = webshop(data_dir)
    before = json.dumps(tree)
    validate(tree)
    assert json.dumps(tree) == before
