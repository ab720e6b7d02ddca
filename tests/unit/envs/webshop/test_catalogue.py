"""Loading the original files: cleaning, and errors that name file, record and remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.catalogue import load_products
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.errors import UserError

Write = Callable[[Path, dict[str, Any]], Path]


def test_records_are_cleaned(mini_data_dir: Path) -> None:
    products = {product.asin: product for product in load_products(mini_data_dir, num_products=None)}
    # The second record of B000000003, the ASIN "nan" and the long one are left out.
    assert len(products) == 20
    assert products["B000000003"].title == "Oak Table"
    shoes = products["B000000001"]
    assert shoes.options == {"size": ("8", "9 | 10"), "color": ("red", "navy wash")}
    assert shoes.query == "shoes"
    assert shoes.pricing == (45.0,)
    assert shoes.price_tag == "$45.0"
    assert products["B000000002"].options == {"color": ("light blue", "light pink")}
    assert products["B000000002"].price_tag == "$30.0 to $50.0"
    assert products["B000000004"].bullets == ("One text only",)
    assert products["B000000004"].pricing == (1234.5,)
    assert products["B000000006"].pricing == (100.0,)
    assert products["B000000006"].price_tag == "$100.0"
    assert products["B000000006"].attributes == ("DUMMY_ATTR",)
    assert shoes.index_text() == (
        "red running shoes about red running shoes. a fine red running shoes "
        "size: 8, 9 | 10, and color: red, navy wash"
    )


def test_records_are_counted_before_they_are_left_out(mini_data_dir: Path) -> None:
    assert [p.asin[-1] for p in load_products(mini_data_dir, num_products=6)] == ["1", "2", "3", "4"]


def test_only_the_asked_part_of_a_file_is_read(tmp_path: Path, mini_files: dict[str, Any]) -> None:
    path = tmp_path / "items.json"
    text = json.dumps(mini_files["items_shuffle_1000.json"])
    path.write_text(text[: len(text) // 2])  # broken in the middle
    records = files.read_records(path)
    assert next(records)[1]["asin"] == "B000000001"
    with pytest.raises(UserError, match=r"items\.json: record \d+: cannot be read"):
        list(records)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_records_survive_any_chunking(
    chunk: int, mini_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mini_data_dir / "items_shuffle_1000.json"
    monkeypatch.setattr(files, "CHUNK_CHARS", chunk)
    # A chunk of one character re-reads each record from its start, so ten records are enough.
    records = [record for number, record in files.read_records(path) if number < 3]
    assert records == json.loads(path.read_text())[:3]


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[{}", "[{},]", '[{"a": 1} {"b": 2}]', '[{"a": }]'])
def test_a_broken_list_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(UserError, match="record"):
        list(files.read_records(path))


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["items_shuffle_1000.json"][1].pop(key)


def _with(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["items_shuffle_1000.json"][1].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("asin"), r"items_shuffle_1000.json: record 1: asin should be a text"),
        (_without("name"), r"record 1: name should be a text"),
        (_with(full_description=None), r"record 1: full_description should be"),
        (_with(small_description=[1]), r"record 1: small_description should be"),
        (_with(pricing="25.99"), r"record 1: pricing should be"),
        (_with(pricing="$1.2.3"), r"record 1: pricing should be"),
        (_with(pricing=25.99), r"record 1: pricing should be"),
        (_with(customization_options={"Size": [{"v": 1}]}), r"record 1: customization_options.Size should"),
        (_with(customization_options=["a"]), r"record 1: customization_options: record should be an object"),
        (
            lambda c: c["title_nouns.json"].pop("B000000002"),
            r"title_nouns.json: no title nouns for B000000002.*make webshop DATA_DIR",
        ),
        (
            lambda c: c["items_ins_v2_1000.json"].update(B000000002={"instruction": "x"}),
            r"items_ins_v2_1000.json: B000000002: instruction_attributes should be at least one",
        ),
        (
            lambda c: c["items_human_ins.json"].update(B000000002=[{"instruction": "x"}]),
            r"items_human_ins.json: B000000002: instruction_attributes should be",
        ),
        (lambda c: c.pop("items_human_ins.json"), r"items_human_ins.json: no such file"),
        (lambda c: c.pop("title_nouns.json"), r"title_nouns.json: no such file.*make webshop DATA_DIR"),
        (lambda c: c.update({"items_shuffle_1000.json": []}), r"contains no usable product"),
    ],
)
def test_broken_data_is_named(
    change: Callable[[dict[str, Any]], None],
    message: str,
    tmp_path: Path,
    mini_files: dict[str, Any],
    write_catalogue: Write,
) -> None:
    change(mini_files)
    folder = write_catalogue(tmp_path / "data", mini_files)
    with pytest.raises(UserError, match=message) as caught:
        load_products(folder, num_products=None)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="WEBSHOP_DATA_DIR"):
        WebShop(data_dir=None)
    with pytest.raises(UserError, match="no such folder"):
        WebShop(data_dir=str(tmp_path / "absent"))


def test_more_products_than_there_are_is_an_error(mini_data_dir: Path) -> None:
    with pytest.raises(UserError, match="holds only 23 products, 1000 were asked for"):
        load_products(mini_data_dir, num_products=1000)


def test_the_small_file_serves_small_catalogues(tmp_path: Path) -> None:
    for name in ("items_shuffle.json", "items_shuffle_1000.json"):
        (tmp_path / name).touch()
    assert files.find(tmp_path, files.PRODUCT_FILES, num_products=50).name == "items_shuffle_1000.json"
    assert files.find(tmp_path, files.PRODUCT_FILES, num_products=5000).name == "items_shuffle.json"
    assert files.find(tmp_path, files.PRODUCT_FILES, num_products=None).name == "items_shuffle.json"
    (tmp_path / "items_shuffle.json").unlink()
    assert files.find(tmp_path, files.PRODUCT_FILES, num_products=None).name == "items_shuffle_1000.json"
