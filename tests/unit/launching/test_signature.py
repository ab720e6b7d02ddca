from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from webshop_rl.errors import UserError
from webshop_rl.launching.signature import content_digest, signature, signature_fields


def _config(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        "lr": 1e-5,
        "env": {"name": "shop", "sizes": [1, 2], "extra": {}},
        "root": "/somewhere/runs",
        "hardware": {"threads": 1},
        "tracking": {"kind": "mlflow"},
        "sweep": {"name": None},
        "experiment_name": "x",
        "checkpoint": {"every": 5},
        "retry": False,
        "rerun": False,
        "on_code_change": "refuse",
    }
    return {**config, **changes}


def webshop(data_dir: str) -> dict[str, Any]:
    return {"_target_": "webshop_rl.envs.webshop.shop.WebShop", "data_dir": data_dir}


def pretrained(path: str) -> dict[str, Any]:
    return {"_target_": "webshop_rl.models.pretrained.load_pretrained", "path": path}


def test_fields_are_the_leaves_that_count() -> None:
    fields = signature_fields(_config())
    assert fields == {"env.extra": "{}", "env.name": "shop", "env.sizes": "[1, 2]", "lr": 1e-5}


def test_signature_is_the_hash_of_the_fields() -> None:
    # The canonical text by hand: keys sorted, no spaces, JSON numbers.
    text = '{"env.extra":"{}","env.name":"shop","env.sizes":"[1, 2]","lr":1e-05}'
    assert signature(_config()) == hashlib.sha256(text.encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    "key", ["root", "hardware", "tracking", "sweep", "experiment_name", "checkpoint", "retry", "rerun"]
)
def test_what_cannot_change_numbers_does_not_enter(key: str) -> None:
    other: Any = {"other": 1} if isinstance(_config()[key], dict) else "other"
    assert signature(_config(**{key: other})) == signature(_config())


def test_what_counts_enters_and_order_does_not() -> None:
    backwards = dict(reversed(_config().items()))
    assert signature(backwards) == signature(_config())
    assert signature(_config(lr=2e-5)) != signature(_config())
    assert signature(_config(retry_more=1)) != signature(_config())


def test_interpolations_are_resolved() -> None:
    cfg = OmegaConf.create(_config(seed=3, twice="${seed}"))
    assert signature_fields(cfg)["twice"] == 3
    assert signature(cfg) == signature(_config(seed=3, twice=3))


def test_the_content_of_a_place_counts_and_the_place_does_not(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep/items.json").write_text("[1]" if name != "c" else "[2]")
        (tmp_path / name / "README.md").write_text(name)
    signatures = {
        name: signature(_config(root=str(tmp_path), env=webshop(str(tmp_path / name)))) for name in "abc"
    }
    assert signatures["a"] == signatures["b"] != signatures["c"]


def test_a_missing_folder_is_named_and_a_hub_name_stays(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"env.data_dir: no such folder: nowhere"):
        signature(_config(env=webshop("nowhere")))
    hub = signature_fields(_config(model=pretrained("Qwen/Qwen2.5-3B-Instruct")))
    assert hub["model.path"] == "Qwen/Qwen2.5-3B-Instruct"


def test_digests_are_remembered_until_a_file_changes(tmp_path: Path) -> None:
    place, cache = tmp_path / "items.json", tmp_path / "digests.json"
    place.write_text("one")
    first = content_digest(place, cache=cache)
    entry = json.loads(cache.read_text())[str(place)]
    cache.write_text(json.dumps({str(place): [*entry[:2], "remembered"]}))
    assert content_digest(place, cache=cache) != first
    place.write_text("other")
    assert content_digest(place, cache=cache) == content_digest(place)


def test_a_large_file_is_told_from_one_that_differs_in_its_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webshop_rl.launching.signature._WHOLE_BYTES", 1 << 20)
    content = bytearray(3 << 20)
    (tmp_path / "a").write_bytes(content)
    content[len(content) // 2] = 1
    (tmp_path / "b").write_bytes(content)
    assert content_digest(tmp_path / "a") != content_digest(tmp_path / "b")
