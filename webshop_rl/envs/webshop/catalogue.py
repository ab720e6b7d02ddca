"""What a shop sells, and the products of the original files, cleaned as the original loader cleans them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from webshop_rl.envs import splits
from webshop_rl.envs.types import Goal
from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.prepared import Prepared, is_prepared
from webshop_rl.envs.webshop.product import (
    MAX_ASIN_LENGTH,
    Product,
    as_mapping,
    as_texts,
    parse_human,
    parse_product,
    text_field,
)
from webshop_rl.errors import UserError


@dataclass(frozen=True)
class Catalogue:
    """What a shop sells, and what is asked for.

    Attributes:
        products: what can be found and bought.
        asked: products that goals are made of; one may stand there several times, with other instructions.
        leaders: which product decides the split of each (splits.twin_leaders).
        split_of: the split of a goal under env.split=instruction; None where there is no such rule.
        remarks: what a reader of figures from this shop has to know.
        prepared: where prices, goals and the search index of these products are written already.
    """

    products: Sequence[Product]
    asked: Sequence[Product]
    leaders: Mapping[str, str]
    split_of: Callable[[Goal], str] | None = None
    remarks: tuple[str, ...] = ()
    prepared: Prepared | None = None

    @classmethod
    def of(cls, products: Sequence[Product]) -> Catalogue:
        """Every product as its records are, each asked for as its own instructions say."""
        return cls(products, products, leaders_of(products))

    @classmethod
    def load(cls, folder: Path, *, num_products: int | None) -> Catalogue:
        """The catalogue of a folder, prepared or of the original files; arguments as of load_products."""
        if not is_prepared(folder):
            return cls.of(load_products(folder, num_products=num_products))
        prepared = open_prepared(folder, num_products=num_products)
        if num_products not in (None, prepared.manifest.num_records):
            return replace(cls.of(_first(prepared, num_products)), remarks=prepared.remarks)
        products = prepared.products
        return cls(products, products, prepared.leaders(), remarks=prepared.remarks, prepared=prepared)


def leaders_of(products: Sequence[Product]) -> dict[str, str]:
    """Which product decides the split of each: by instructions of both kinds, whatever env.goals is."""
    return splits.twin_leaders(
        (product.asin, text) for product in products for text in product.instructions()
    )


def open_prepared(folder: Path, *, num_products: int | None) -> Prepared:
    """A prepared folder with so many records (all for None).

    Raises: UserError if it is broken, does not belong to its sources, or has fewer.
    """
    prepared = Prepared(folder)
    manifest = prepared.manifest
    if num_products is None and not manifest.whole:
        raise UserError(
            f"has the first {manifest.num_records} products, all were asked for",
            where=str(folder),
            remedy=f"env.num_products={manifest.num_records}, or prepare all",
        )
    if num_products is not None and num_products > manifest.num_records:
        raise _too_few(folder, manifest.num_records, num_products)
    return prepared


def look(folder: Path, *, num_products: int | None) -> None:
    """See that the data are there and may be large enough, reading little of them.

    Raises: UserError if they are not.
    """
    if is_prepared(folder):
        open_prepared(folder, num_products=num_products)
    else:
        files.look(folder, num_products=num_products)


def _first(prepared: Prepared, num_products: int | None) -> Sequence[Product]:
    return prepared.products if num_products is None else list(prepared.first(num_products))


def _too_few(where: Path, found: int, wanted: int) -> UserError:
    return UserError(
        f"holds only {found} products, {wanted} were asked for",
        where=str(where),
        remedy="lower env.num_products, set it to null for all, or get the full files",
    )


def load_products(folder: Path, *, num_products: int | None) -> Sequence[Product]:
    """The first num_products records of the catalogue (all for None), unusable ones left out.

    As in the original, a record with the ASIN "nan" or a longer one than ten characters, and one whose
    ASIN was seen before, is left out after counting.

    Args:
        folder: of the original files, or prepared.
    Raises: UserError that names the file, the record and the remedy.
    """
    if is_prepared(folder):
        return _first(open_prepared(folder, num_products=num_products), num_products)
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
        raise _too_few(path, count, num_products)
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
