"""The schema, the YAML file and the shop's arguments name the same settings."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tests.support.paths import CONF
from webshop_rl.config.fields import facts_on, violation
from webshop_rl.envs.webshop.config import WebshopConfig
from webshop_rl.envs.webshop.shop import WebShop

FILE = CONF / "env" / "webshop.yaml"


def test_one_set_of_keys() -> None:
    schema = {entry.name for entry in fields(WebshopConfig)} - {"_target_"}
    values = OmegaConf.load(FILE)
    assert list(values.pop("defaults")) == ["/base_env_webshop", "_self_"]
    arguments = dict(inspect.signature(WebShop.__init__).parameters)
    del arguments["catalogue"]  # in the place of data_dir, by the stages of the ladder
    assert set(values) == schema == set(arguments) - {"self"}
    for name, argument in arguments.items():
        if name not in ("self", "data_dir"):
            assert argument.default == values[name], name


def test_every_key_has_a_comment() -> None:
    lines = FILE.read_text().splitlines()
    keys = [line for line in lines if line and not line.startswith(("#", "defaults", "name"))]
    assert keys
    assert all("  #" in line or " # " in line for line in keys)


def test_the_data_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = OmegaConf.load(FILE)
    monkeypatch.delenv("WEBSHOP_DATA_DIR", raising=False)
    assert config.data_dir is None
    monkeypatch.setenv("WEBSHOP_DATA_DIR", "some/folder")
    assert config.data_dir == "some/folder"


@pytest.mark.parametrize(
    ("key", "value"), [("num_product", 5), ("max_steps", "many"), ("show_attributes", 3.5)]
)
def test_typos_and_wrong_types_are_refused(key: str, value: object) -> None:
    schema = OmegaConf.structured(WebshopConfig)
    with pytest.raises(OmegaConfBaseException):
        OmegaConf.update(schema, key, value)


@pytest.mark.parametrize(
    ("key", "bad", "good"),
    [
        ("num_products", 0, None),
        ("max_steps", 0, 1),
        ("goals", "both", "human"),
        ("split", "index", "published"),
        ("reward", "sparse", "shaped"),
        ("fidelity", "broken", "fixed"),
        ("mode", "html", "text_rich"),
        ("shaping_open", -0.1, 0.0),
        ("shaping_search", float("nan"), 1.0),
    ],
)
def test_ranges(key: str, bad: object, good: object) -> None:
    facts = {entry.name: facts_on(entry) for entry in fields(WebshopConfig)}[key]
    assert violation(bad, facts)
    assert violation(good, facts) is None
