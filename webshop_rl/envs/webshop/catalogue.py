"""What a shop sells, and the products of the original files, cleaned as the original loader cleans them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webshop_rl.envs import splits
from webshop_rl.envs.types import Goal
from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.product import (
    Product,
    as_mapping,
    as_texts,
    parse_human,
    parse_product,
    text_field,
)
from webshop_rl.errors import UserError

MAX_ASIN_LENGTH = 10


@dataclass(frozen=True)
class Catalogue:
    """What a shop sells, and what is asked for.

    Attributes:
        products: what can be found and bought.
        asked: products that goals are made of; one may stand there several times, with other instructions.
        leaders: which product decides the split of each (splits.twin_leaders).
        split_of: the split of a goal under env.split=instruction; None where there is no such rule.
        remarks: what a reader of figures from this shop has to know.
    """

    products: Sequence[Product]
    asked: Sequence[Product]
    leaders: Mapping[str, str]
    split_of: Callable[[Goal], str] | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, products: Sequence[Product]) -> Catalogue:
        """Every product as its records are, each asked for as its own instructions say."""
        return cls(products, products, leaders_of(products))


def leaders_of(products: Sequence[Product]) -> dict[str, str]:
    """Which product decides the split of each: by instructions of both kinds, whatever env.goals is."""
    return splits.twin_leaders(
        (product.asin, text) for product in products for text in product.instructions()
    )


def load_products(folder: Path, *, num_products: int | None) -> list[Product]:
    """The first num_products records of the catalogue (all for None), unusable ones left out.

    As in the original, a record with the ASIN "nan" or a longer one than ten characters, and one whose
    ASIN was seen before, is left out after counting.

    Raises: UserError that names the file, the record and the remedy.
    """
    path = files.find(folder, files.PRODUCT_FILES, num_products=num_products)
    annotations_path = files.find(folder, files.INSTRUCTION_FILES, num_products=num_products)
    human_path = files.find(folder, files.HUMAN_FILES, num_products=num_products)
    nouns_path = files.find(folder, files.NOUN_FILES, num_products=num_products)
    annotations, human, nouns = map(files.read_object, (annotations_path, human_path, nouns_path))
    products: list[Product] = []
    seen: set[str] = set()
    count = 0
    for where, record in _first_records(path, num_products):
        count += 1
        asin = text_field(record, "asin", where)
        if asin == "nan" or len(asin) > MAX_ASIN_LENGTH or asin in seen:
            continue
        seen.add(asin)
        if asin not in nouns:
            raise UserError(
                f"no title nouns for {asin}, which the reward needs",
                where=str(nouns_path),
                remedy=files.MAKE_NOUNS,
            )
        products.append(
            parse_product(
                record,
                where,
                annotation=as_mapping(annotations.get(asin, {}), f"{annotations_path}: {asin}"),
                annotation_where=f"{annotations_path}: {asin}",
                human=parse_human(human.get(asin, []), f"{human_path}: {asin}"),
                nouns=as_texts(nouns[asin], "nouns", f"{nouns_path}: {asin}"),
            )
        )
    if num_products is not None and count < num_products:
        raise UserError(
            f"holds only {count} products, {num_products} were asked for",
            where=str(path),
            remedy="lower env.num_products, set it to null for all, or get the full files",
        )
    if not products:
        raise UserError("contains no usable product", where=str(path), remedy=files.GET_DATA)
    return products


def _first_records(path: Path, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
    if limit == 0:
        return
    for number, record in files.read_records(path):
        yield f"{path}: record {number}", record
        if limit is not None and number + 1 >= limit:
            return
