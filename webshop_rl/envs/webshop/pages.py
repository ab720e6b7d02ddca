"""The pages of the shop as lists of text nodes, and how nodes are printed.

A page is what the original's HTML page holds for a reader: its visible text nodes in order. Two ways to
print it, both the original's: mode "text" joins the stripped nodes by " [SEP] "; mode "text_rich" gives
each node a line, marks buttons, and shows what was clicked.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from webshop_rl.envs.webshop.product import Product

RATING = "N.A."  # the data contains no reviews

SEARCH = "Search"
BACK_TO_SEARCH = "Back to Search"
NEXT_PAGE = "Next >"
PREVIOUS_PAGE = "< Prev"
BUY_NOW = "Buy Now"
SEPARATOR = " [SEP] "
SUB_PAGES = ("Description", "Features", "Reviews", "Attributes")


class Role(enum.Enum):
    """What a text node is on its page."""

    TEXT = "text"
    INSTRUCTION = "instruction"
    BUTTON = "button"
    OPTION = "option"
    PRODUCT = "product"


class Node(NamedTuple):
    """A visible text, white space included, and what it is; clicked ones are marked in text_rich."""

    text: str
    role: Role = Role.TEXT
    clicked: bool = False


# Without text: printed in text_rich, these hold the marks of that mode and nothing else.
EVERY_ROLE = [Node("", role, clicked) for role in Role for clicked in (False, True)]


def search_page(instruction: str) -> list[Node]:
    """The page of a new episode: the instruction and the search box."""
    return _nodes(
        Node("WebShop"),
        Node("Instruction: ", Role.INSTRUCTION),
        Node(instruction, Role.INSTRUCTION),
        Node(SEARCH, Role.BUTTON),
    )


def results_page(
    instruction: str, products: Sequence[Product], *, page: int, total: int, opened: Set[str]
) -> list[Node]:
    """One page of results.

    Args:
        instruction: of the goal.
        products: at most ten, in order.
        page: number of the page, from 1.
        total: number of results on all pages.
        opened: ASINs opened since the search page was last seen.
    """
    nodes = [*_head(instruction), Node(f"Page {page} (Total results: {total})")]
    if page > 1:
        nodes.append(Node(PREVIOUS_PAGE, Role.BUTTON))
    nodes.append(Node(NEXT_PAGE, Role.BUTTON))
    kept = _nodes(*nodes)
    for product in products:
        kept += result_nodes(product, clicked=product.asin in opened)
    return kept


def result_nodes(product: Product, *, clicked: bool) -> list[Node]:
    """What a page of results shows of one product."""
    asin = Node(product.asin, Role.PRODUCT, clicked)
    return _nodes(asin, Node(product.title), Node(product.price_tag))


def item_page(instruction: str, product: Product, *, clicked: Set[str], show_attributes: bool) -> list[Node]:
    """The page of a product: options, title, price, the buttons of its sub-pages, and Buy Now.

    Args:
        instruction: of the goal.
        product: the product shown.
        clicked: option values that are shown as clicked.
        show_attributes: whether the sub-page "Attributes" is offered (the original's show_attrs).
    """
    buttons = item_buttons(show_attributes=show_attributes)
    nodes = [*_head(instruction), buttons[1]]
    for name, values in product.options.items():
        nodes.append(Node(name))
        nodes += [Node(value, Role.OPTION, value in clicked) for value in values]
    nodes += [Node(product.title), Node(f"Price: {product.price_tag}"), Node(f"Rating: {RATING}")]
    return _nodes(*nodes, *buttons[2:])


def item_buttons(*, show_attributes: bool) -> list[Node]:
    """The buttons of a product's page, in order: two before its options, the others at the end."""
    shown = SUB_PAGES if show_attributes else SUB_PAGES[:-1]
    return [Node(name, Role.BUTTON) for name in (BACK_TO_SEARCH, PREVIOUS_PAGE, *shown, BUY_NOW)]


def sub_page(instruction: str, product: Product, name: str) -> list[Node]:
    """A sub-page of a product: "Description", "Features", "Reviews" (always empty) or "Attributes"."""
    contents = {
        "Description": (product.description,),
        "Features": tuple(f" {bullet}" for bullet in product.bullets),
        "Reviews": (),
        "Attributes": (
            *(f" {attribute}" for attribute in product.attributes),
            product.category,
            product.query,
            product.product_category,
        ),
    }
    return _nodes(*_head(instruction), Node(PREVIOUS_PAGE, Role.BUTTON), *map(Node, contents[name]))


def end_page(asin: str, options: Mapping[str, str], score: float) -> list[Node]:
    """The page after a purchase: what was bought, with which options, and the score."""
    changing = Node(asin), Node(_options_json(options)), Node(str(score))
    first, second, third = (_nodes(node) for node in changing)
    return [*_END_HEAD, *first, *_END_OPTIONS, *second, *_END_GOAL, *third, *_END_TAIL]


def render(nodes: Sequence[Node], mode: str) -> str:
    """Print nodes as the original prints the page in mode "text" or "text_rich"."""
    if mode == "text":
        return SEPARATOR.join([node.text.strip() for node in nodes])
    clicked = "".join(
        f"You have clicked {node.text}.\n"
        for node in reversed(nodes)
        if node.role is Role.OPTION and node.clicked
    )
    return clicked + "".join(f"{_rich(node)}\n" for node in nodes)


def with_and_without_instruction(nodes: Sequence[Node], mode: str) -> tuple[str, str]:
    """The page printed whole, and as a transcript needs it that opens with the instruction."""
    if mode == "text":
        texts = [node.text.strip() for node in nodes]
        if not any(node.role is Role.INSTRUCTION for node in nodes):
            return (whole := SEPARATOR.join(texts)), whole
        kept = [text for text, node in zip(texts, nodes, strict=True) if node.role is not Role.INSTRUCTION]
        return SEPARATOR.join(texts), SEPARATOR.join(kept)
    return render(nodes, mode), render(without_instruction(nodes), mode)


def without_instruction(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that a transcript which opens with the instruction does not hold yet."""
    return [node for node in nodes if node.role is not Role.INSTRUCTION]


def _rich(node: Node) -> str:
    mark = "clicked button" if node.clicked else "button"
    if node.role is Role.BUTTON:
        return f"[button] {node.text} [button_]"
    if node.role is Role.OPTION:
        return f"  [{mark}] {node.text} [{mark}_]"
    if node.role is Role.PRODUCT:
        return f"\n[{mark}] {node.text} [{mark}_]"
    return node.text


def instruction_nodes(instruction: str) -> list[Node]:
    """What every page of an episode but the first and the last begins with."""
    return _nodes(Node("Instruction:", Role.INSTRUCTION), Node(instruction, Role.INSTRUCTION))


def _head(instruction: str) -> list[Node]:
    return [*instruction_nodes(instruction), Node(BACK_TO_SEARCH, Role.BUTTON)]


def _nodes(*nodes: Node) -> list[Node]:
    """The nodes that survive the original's HTML parser.

    An empty text is no node. White space alone counts as one space, or, with a line break in it, as
    layout, which is not shown.
    """
    kept = []
    for node in nodes:
        if node.text.strip(" \n\t\f\r"):
            kept.append(node)
        elif node.text and "\n" not in node.text:
            kept.append(Node(" ", node.role, node.clicked))
    return kept


def _options_json(options: Mapping[str, str]) -> str:
    """JSON with sorted names, safe inside HTML, as the original's template prints it."""
    text = json.dumps(options, sort_keys=True)
    for character in "<>&'":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


_END_HEAD = [
    *map(Node, ("Thank you for shopping with us!", "Your code: ", "None")),
    *map(Node, (" (Paste it in your MTurk interface.)", "Purchased", "asin")),
]
_END_OPTIONS = [Node("options")]
_END_GOAL = [
    *map(Node, ("attrs", "None", "category", "None", "query", "None", "product category", "None")),
    *map(Node, ("Target", "asin", "options", "attrs", "price upper", "instuction text", "category")),
    *map(Node, ("product category", "query", "Goal ", "None", "Reward", "Your score (min 0.0, max 1.0)")),
]
_END_TAIL = [Node("Reward Details "), Node("None")]
