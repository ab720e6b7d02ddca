"""One product, and how a record of the original files becomes one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from webshop_rl.envs.webshop import files
from webshop_rl.errors import UserError

NO_PRICE = 100.0
MAX_ASIN_LENGTH = 10


@dataclass(frozen=True, slots=True)
class HumanInstruction:
    """One instruction written by a person: what to buy, and the attributes and option values meant."""

    text: str
    attributes: tuple[str, ...]
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Product:
    """One product, ready for pages, search, goals and reward.

    Attributes:
        pricing: one price, or the two ends of a range as printed (sometimes reversed), dollars.
        price_tag: the price as pages show it.
        options: option name to its values, both lower-cased, in file order.
        attributes: what the reward compares goal attributes with.
        instruction: the synthetic instruction without options and price, if there is one.
        instruction_attributes: the attributes that instruction asks for.
        nouns: the lower-cased nouns of the title, repeats kept.
    """

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    pricing: tuple[float, ...]
    price_tag: str
    options: Mapping[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    category: str
    query: str
    product_category: str
    instruction: str | None
    instruction_attributes: tuple[str, ...]
    human_instructions: tuple[HumanInstruction, ...]
    nouns: tuple[str, ...]

    def instructions(self) -> tuple[str, ...]:
        """What is asked for with this product as the target, without options and price."""
        human = tuple(wish.text.strip(".") for wish in self.human_instructions)
        return human if self.instruction is None else (self.instruction, *human)

    def index_text(self) -> str:
        """What search looks through: title, description, first bullet, options; lower case."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        first_bullet = self.bullets[0] if self.bullets else ""
        return " ".join([self.title, self.description, first_bullet, options]).lower()


def parse_product(
    record: Mapping[str, Any],
    where: str,
    *,
    annotation: Mapping[str, Any],
    annotation_where: str,
    human: tuple[HumanInstruction, ...],
    nouns: tuple[str, ...],
) -> Product:
    """Clean one record as the original loader does.

    Args:
        record: the entry of the catalogue file.
        where: file and record, for errors.
        annotation: attributes and synthetic instruction; empty if the file has none for the product.
        annotation_where: file and record of the annotation, for errors.
        human: what people asked for with this product as the target.
        nouns: the nouns of the title.
    Raises: UserError that names the file, the record and the field.
    """
    bullets = record.get("small_description")
    pricing, price_tag = _pricing(record.get("pricing"), where)
    instruction = annotation.get("instruction")
    if instruction is not None and not isinstance(instruction, str):
        raise _broken("instruction", instruction, "a text", annotation_where)
    wanted = as_texts(
        annotation.get("instruction_attributes") or [], "instruction_attributes", annotation_where
    )
    if instruction is not None and not wanted:
        raise _broken("instruction_attributes", [], "at least one attribute", annotation_where)
    attributes = annotation.get("attributes", ["DUMMY_ATTR"])
    return Product(
        asin=text_field(record, "asin", where),
        title=text_field(record, "name", where),
        description=text_field(record, "full_description", where),
        bullets=as_texts(bullets if isinstance(bullets, list) else [bullets], "small_description", where),
        pricing=pricing,
        price_tag=price_tag,
        options=_options(record.get("customization_options"), where),
        attributes=as_texts(attributes, "attributes", annotation_where),
        category=text_field(record, "category", where),
        query=text_field(record, "query", where).lower().strip(),
        product_category=text_field(record, "product_category", where),
        instruction=instruction,
        instruction_attributes=wanted,
        human_instructions=human,
        nouns=nouns,
    )


def _pricing(raw: Any, where: str) -> tuple[tuple[float, ...], str]:
    """Prices after each "$", at most two, and the price as pages show it; missing is 100 dollars."""
    if not raw:
        return (NO_PRICE,), f"${NO_PRICE}"
    if not isinstance(raw, str):
        raise _broken("pricing", raw, "a text such as $9.99", where)
    try:
        prices = tuple(float(Decimal(re.sub(r"[^\d.]", "", part))) for part in raw.split("$")[1:])
    except InvalidOperation as error:
        raise _broken("pricing", raw, "a text such as $9.99", where) from error
    if not prices:
        raise _broken("pricing", raw, "a text such as $9.99", where)
    if len(prices) == 1:
        return prices, f"${prices[0]}"
    return prices[:2], f"${prices[0]} to ${prices[1]}"


def _options(raw: Any, where: str) -> dict[str, tuple[str, ...]]:
    options: dict[str, tuple[str, ...]] = {}
    for name, contents in as_mapping(raw or {}, f"{where}: customization_options").items():
        if contents is None:
            continue
        try:
            values = tuple(entry["value"].strip().replace("/", " | ").lower() for entry in contents)
        except (TypeError, KeyError, AttributeError) as error:
            raise _broken(f"customization_options.{name}", contents, "a list of values", where) from error
        options[name.lower()] = values
    return options


def parse_human(raw: Any, where: str) -> tuple[HumanInstruction, ...]:
    """The human instructions of one product.

    Raises: UserError that names the product and the field.
    """
    if not isinstance(raw, list):
        raise _broken("human instructions", raw, "a list", where)
    return tuple(
        HumanInstruction(
            text=text_field(as_mapping(entry, where), "instruction", where),
            attributes=as_texts(entry.get("instruction_attributes"), "instruction_attributes", where),
            options=as_texts(entry.get("instruction_options"), "instruction_options", where),
        )
        for entry in raw
    )


def text_field(record: Mapping[str, Any], key: str, where: str) -> str:
    """The text under key.

    Raises: UserError if it is missing or of another type.
    """
    value = record.get(key)
    if not isinstance(value, str):
        raise _broken(key, value, "a text", where)
    return value


def as_texts(value: Any, key: str, where: str) -> tuple[str, ...]:
    """A list of texts as a tuple.

    Raises: UserError if it is anything else.
    """
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise _broken(key, value, "a list of texts", where)
    return tuple(value)


def as_mapping(value: Any, where: str) -> dict[str, Any]:
    """An object as a dict.

    Raises: UserError if it is anything else.
    """
    if not isinstance(value, dict):
        raise _broken("record", value, "an object", where)
    return value


def _broken(key: str, value: Any, wanted: str, where: str) -> UserError:
    shown = repr(value)[:60]
    return UserError(f"{key} should be {wanted}, is {shown}", where=where, remedy=files.GET_DATA)
