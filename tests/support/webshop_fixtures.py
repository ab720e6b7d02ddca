"""Data for tests of the WebShop reproduction: the real files, and a small catalogue of odd records."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import REPOSITORY


def _folder(variable: str, beside: str) -> Path:
    path = Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / beside)
    if not path.is_dir():
        pytest.skip(f"no {beside} at {path}: set {variable}")
    return path


@pytest.fixture(scope="session")
def webshop_data_dir() -> Path:
    """The real WebShop's 1,000 products."""
    return _folder("WEBSHOP_DATA_DIR", "webshop_1k")


@pytest.fixture(scope="session")
def webshop_parity_dir() -> Path:
    """Recorded rows of the original."""
    return _folder("WEBSHOP_PARITY_DIR", "parity")


def _record(asin: str, name: str, **fields: Any) -> dict[str, Any]:
    plain = {
        "asin": asin,
        "name": name,
        "full_description": f"About {name}.",
        "small_description": [f"A fine {name}", "Made to last"],
        "pricing": "$20.00",
        "product_category": "Shop › Things",
        "customization_options": "",
        "category": "garden",
        "query": "things",
        "images": ["x"],
    }
    return plain | fields


def _values(*values: str) -> list[dict[str, str]]:
    return [{"value": value} for value in values]


def mini_catalogue() -> dict[str, Any]:
    """File name to content: products with every odd form that real records have."""
    products = [
        _record(
            "B000000001",
            "Red Running Shoes",
            customization_options={"Size": _values("8", " 9/10 "), "Color": _values("Red", "Navy Wash")},
            product_category="Fashion › Shoes › Running",
            query="Shoes ",
            category="fashion",
            pricing="$45.00",
        ),
        _record(
            "B000000002",
            "Blue Running Shoes",
            customization_options={"Color": _values("Light Blue", "Light Pink"), "Fit": None},
            product_category="Fashion › Shoes › Walking",
            query="shoes",
            category="fashion",
            pricing="$30.00$50.00",
        ),
        _record("B000000003", "Oak Table", small_description=[""], full_description=""),
        _record("B000000004", "Pine Table", small_description="One text only", pricing="$1,234.50"),
        _record("B000000003", "A second record of the same product"),
        _record("nan", "No product"),
        _record("B0000000012345", "Too long an ASIN"),
        _record("B000000005", "Glass Lamp", pricing="$60.00$40.00"),
        _record("B000000006", "Brass Lamp & <Shade>", pricing=""),
        *(
            _record(f"B0000001{number:02d}", f"Plain Mug {number}", query="mugs", category="kitchen")
            for number in range(14)
        ),
    ]
    asins = {str(product["asin"]) for product in products}
    annotations: dict[str, Any] = {asin: {"attributes": ["sturdy"]} for asin in asins}
    annotations["B000000001"] = {
        "attributes": ["rubber sole", "light weight"],
        "instruction": "Find me light weight shoes",
        "instruction_attributes": ["light weight", "rubber sole"],
    }
    annotations["B000000002"] = {
        "attributes": ["rubber sole"],
        "instruction": "Find me shoes with rubber sole",
        "instruction_attributes": ["rubber sole"],
    }
    annotations["B000000004"] = {
        "attributes": ["solid wood"],
        "instruction": "Find me a table with solid wood",
        "instruction_attributes": ["solid wood"],
    }
    annotations.pop("B000000006")
    human = {
        "B000000001": [
            {
                "instruction": "i want red shoes.",
                "instruction_attributes": ["rubber sole"],
                "instruction_options": ["red", "8"],
            },
            {"instruction": "nothing meant", "instruction_attributes": [], "instruction_options": []},
        ]
    }
    nouns = {
        str(product["asin"]): [word.lower() for word in str(product["name"]).split()] for product in products
    }
    return {
        "items_shuffle_1000.json": products,
        "items_ins_v2_1000.json": annotations,
        "items_human_ins.json": human,
        "title_nouns.json": nouns,
    }


@pytest.fixture(scope="session")
def write_catalogue() -> Callable[[Path, dict[str, Any]], Path]:
    """Write the files of a catalogue into a folder."""

    def write(folder: Path, files: dict[str, Any]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        return folder

    return write


@pytest.fixture
def mini_files() -> dict[str, Any]:
    """The content of the small catalogue's files, to be changed at will."""
    return mini_catalogue()


@pytest.fixture(scope="session")
def mini_data_dir(
    tmp_path_factory: pytest.TempPathFactory, write_catalogue: Callable[[Path, dict[str, Any]], Path]
) -> Path:
    """A folder with the small catalogue."""
    return write_catalogue(tmp_path_factory.mktemp("mini_webshop"), mini_catalogue())
