"""How pages are printed, and what survives the original's HTML parser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from webshop_rl.envs.webshop import pages
from webshop_rl.envs.webshop.catalogue import load_products
from webshop_rl.envs.webshop.product import Product


@pytest.fixture(scope="module")
def shoes(mini_data_dir: Path) -> Product:
    return load_products(mini_data_dir, num_products=None)[0]


def test_search_page() -> None:
    nodes = pages.search_page("buy shoes ")
    assert pages.render(nodes, "text") == "WebShop [SEP] Instruction: [SEP] buy shoes [SEP] Search"
    assert pages.render(nodes, "text_rich") == (
        "WebShop\nInstruction: \nbuy shoes \n[button] Search [button_]\n"
    )
    assert pages.render(pages.without_instruction(nodes), "text") == "WebShop [SEP] Search"


def test_results_page(shoes: Product) -> None:
    nodes = pages.results_page("buy", [shoes], page=2, total=11, opened={"B000000001"})
    assert pages.render(nodes, "text") == (
        "Instruction: [SEP] buy [SEP] Back to Search [SEP] Page 2 (Total results: 11) [SEP] < Prev "
        "[SEP] Next > [SEP] B000000001 [SEP] Red Running Shoes [SEP] $45.0"
    )
    assert pages.render(nodes, "text_rich") == (
        "Instruction:\nbuy\n[button] Back to Search [button_]\nPage 2 (Total results: 11)\n"
        "[button] < Prev [button_]\n[button] Next > [button_]\n"
        "\n[clicked button] B000000001 [clicked button_]\nRed Running Shoes\n$45.0\n"
    )
    first = pages.results_page("buy", [], page=1, total=0, opened=set())
    assert pages.render(first, "text").endswith("Page 1 (Total results: 0) [SEP] Next >")


def test_item_page_marks_choices_in_rich_mode_only(shoes: Product) -> None:
    nodes = pages.item_page("buy", shoes, clicked={"8", "navy wash"}, show_attributes=False)
    assert pages.render(nodes, "text").endswith(
        "< Prev [SEP] size [SEP] 8 [SEP] 9 | 10 [SEP] color [SEP] red [SEP] navy wash [SEP] "
        "Red Running Shoes [SEP] Price: $45.0 [SEP] Rating: N.A. [SEP] "
        "Description [SEP] Features [SEP] Reviews [SEP] Buy Now"
    )
    rich = pages.render(nodes, "text_rich")
    # The last on the page is reported first.
    assert rich.startswith("You have clicked navy wash.\nYou have clicked 8.\nInstruction:\nbuy\n")
    assert "size\n  [clicked button] 8 [clicked button_]\n  [button] 9 | 10 [button_]\ncolor\n" in rich
    shown = pages.item_page("buy", shoes, clicked=set(), show_attributes=True)
    assert "Reviews [SEP] Attributes [SEP] Buy Now" in pages.render(shown, "text")


def test_sub_pages(shoes: Product) -> None:
    def body(name: str, product: Product = shoes) -> str:
        return pages.render(pages.without_instruction(pages.sub_page("buy", product, name)), "text")

    head = "Back to Search [SEP] < Prev"
    assert body("Description") == f"{head} [SEP] About Red Running Shoes."
    assert body("Features") == f"{head} [SEP] A fine Red Running Shoes [SEP] Made to last"
    assert body("Reviews") == head
    assert body("Attributes") == (
        f"{head} [SEP] rubber sole [SEP] light weight [SEP] fashion [SEP] shoes "
        "[SEP] Fashion › Shoes › Running"
    )
    # No text is no node; a list item that is empty still holds the blank before it.
    assert body("Description", replace(shoes, description="")) == head
    assert body("Features", replace(shoes, bullets=("",))) == f"{head} [SEP] "
    assert body("Features", replace(shoes, bullets=("\n", "b\nc"))) == f"{head} [SEP] b\nc"
    assert body("Description", replace(shoes, description=" \t")) == f"{head} [SEP] "


def test_end_page_prints_score_and_options() -> None:
    text = pages.render(pages.end_page("B1", {"size": "8", "color": "<a> & 'b' é"}, 0.1 + 0.2), "text")
    assert text == (
        "Thank you for shopping with us! [SEP] Your code: [SEP] None [SEP] (Paste it in your MTurk "
        "interface.) [SEP] Purchased [SEP] asin [SEP] B1 [SEP] options [SEP] "
        '{"color": "\\u003ca\\u003e \\u0026 \\u0027b\\u0027 \\u00e9", "size": "8"} [SEP] attrs [SEP] None '
        "[SEP] category [SEP] None [SEP] query [SEP] None [SEP] product category [SEP] None [SEP] Target "
        "[SEP] asin [SEP] options [SEP] attrs [SEP] price upper [SEP] instuction text [SEP] category [SEP] "
        "product category [SEP] query [SEP] Goal [SEP] None [SEP] Reward [SEP] "
        "Your score (min 0.0, max 1.0) [SEP] 0.30000000000000004 [SEP] Reward Details [SEP] None"
    )
