"""A catalogue as `webshop-rl prepare` writes it: columns and postings in files that processes share."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar, overload

import numpy as np
import numpy.typing as npt

from webshop_rl.envs.webshop.columns import Names, Texts, load
from webshop_rl.envs.webshop.goal_table import GoalTable
from webshop_rl.envs.webshop.postings import Postings
from webshop_rl.envs.webshop.product import HumanInstruction, Product
from webshop_rl.errors import UserError
from webshop_rl.storage.files import read_json

VERSION: Final = 1
MANIFEST: Final = "catalogue.json"
KINDS: Final = ("synthetic", "human")
FIDELITIES: Final = ("original", "fixed")
AGAIN: Final = "make it again: webshop-rl prepare --data-dir FOLDER"
_PRODUCTS_KEPT: Final = 4096
_BLOCK: Final = 1 << 22

_FIELDS: Final = tuple(field.name for field in fields(Product))
_TUPLES: Final = ("bullets", "pricing", "attributes", "instruction_attributes", "nouns")

T = TypeVar("T")


@dataclass(frozen=True)
class Manifest:
    """What a prepared folder is.

    Attributes:
        version: of the format.
        sources_folder: where the original files are, relative to the prepared folder.
        sources: size, modification time (ns) and SHA-256 of each original file, by name.
        files: size of each file of the prepared folder, by name.
        num_records: of the catalogue that were read.
        whole: whether these are all there are.
        num_products: that are usable.
        left_out: records that were left out, by reason.
        nouns: where the nouns of the titles come from.
        products_digest: product_digest of all products.
        split_digests: of the assignment of goals to splits, by kind and protocol.
    """

    version: int
    sources_folder: str
    sources: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, int]
    num_records: int
    whole: bool
    num_products: int
    left_out: Mapping[str, int]
    nouns: str
    products_digest: str
    split_digests: Mapping[str, Mapping[str, str]]


def is_prepared(folder: Path) -> bool:
    """Whether a folder is a prepared catalogue, of whatever version, and not one of original files."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder, found to be whole and made of its sources, where these are there.

    Raises: UserError if it is of another version, a file is missing or cut, or a source has changed.
    """
    content = read_json(folder / MANIFEST)
    if content is None or set(content) != {field.name for field in fields(Manifest)}:
        version = (content or {}).get("version")
        what = "not a readable manifest" if version in (None, VERSION) else _other_version(version)
        raise UserError(what, where=str(folder / MANIFEST), remedy=AGAIN)
    manifest = Manifest(**content)
    if manifest.version != VERSION:
        raise UserError(_other_version(manifest.version), where=str(folder / MANIFEST), remedy=AGAIN)
    for name, size in manifest.files.items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            what = "no such file" if found is None else f"has {found:,} bytes of {size:,}"
            raise UserError(what, where=str(path), remedy=f"copy the folder again, or {AGAIN}")
    for name, source in manifest.sources.items():
        path = folder / manifest.sources_folder / name
        if path.is_file() and not is_same(path, source):
            raise UserError(
                f"was made of other bytes than {path} has now",
                where=str(folder),
                remedy=f"{AGAIN}; or move the folder away from files that are not its own",
            )
    return manifest


def is_same(path: Path, source: Mapping[str, Any]) -> bool:
    """Whether a file is what a manifest says: by size and time, else by content."""
    found = path.stat()
    if found.st_size != source["size"]:
        return False
    return bool(found.st_mtime_ns == source["mtime_ns"] or sha256_of(path) == source["sha256"])


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def as_text(product: Product) -> str:
    """A product as one line of JSON, which from_text reads."""
    row = {name: getattr(product, name) for name in _FIELDS}
    row["human_instructions"] = [
        (wish.text, wish.attributes, wish.options) for wish in product.human_instructions
    ]
    return json.dumps(list(row.values()), ensure_ascii=False, separators=(",", ":"))


def from_text(text: str) -> Product:
    """The product of as_text, equal to it in everything."""
    row = dict(zip(_FIELDS, json.loads(text), strict=True))
    for name in _TUPLES:
        row[name] = tuple(row[name])
    row["options"] = {name: tuple(values) for name, values in row["options"].items()}
    row["human_instructions"] = tuple(
        HumanInstruction(wish, tuple(attributes), tuple(options))
        for wish, attributes, options in row["human_instructions"]
    )
    return Product(**row)


class PreparedProducts(Sequence[Product]):
    """Products in catalogue order, each read from the file when it is asked for.

    Args:
        folder: prepared.
        number: only the first so many.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._texts = Texts(folder, "products")
        self._asins = Names(folder, "asins")
        self._number = number
        self._read = functools.lru_cache(_PRODUCTS_KEPT)(lambda place: from_text(self._texts[place]))

    def __len__(self) -> int:
        return self._number

    @overload
    def __getitem__(self, place: int) -> Product: ...

    @overload
    def __getitem__(self, place: slice) -> list[Product]: ...

    def __getitem__(self, place: int | slice) -> Product | list[Product]:
        if isinstance(place, slice):
            return [self[own] for own in range(*place.indices(self._number))]
        if not -self._number <= place < self._number:
            raise IndexError(f"{self._number} products, no place {place}")
        return self._read(place % self._number)

    def __iter__(self) -> Iterator[Product]:
        return (from_text(self._texts[place]) for place in range(self._number))

    def place_of(self, asin: str) -> int | None:
        """The place of the product with an ASIN; None if there is none."""
        place = self._asins.get(asin)
        return None if place is None or place >= self._number else place

    def asin(self, place: int) -> str:
        """The ASIN of the product at a place."""
        return self._asins[place]


def asin_of(products: Sequence[Product], place: int) -> str:
    """The ASIN of the product at a place; a prepared product is not read for it."""
    return products.asin(place) if isinstance(products, PreparedProducts) else products[place].asin


class ByAsin(Mapping[str, T]):
    """What a function says of the place of each product, by ASIN."""

    def __init__(self, products: PreparedProducts, of_place: Callable[[int], T]) -> None:
        self._products = products
        self._of_place = of_place

    def __getitem__(self, asin: str) -> T:
        place = self._products.place_of(asin)
        if place is None:
            raise KeyError(asin)
        return self._of_place(place)

    def __iter__(self) -> Iterator[str]:
        return (self._products.asin(place) for place in range(len(self._products)))

    def __len__(self) -> int:
        return len(self._products)


class Prepared:
    """A prepared folder, opened: nothing is read of it before it is looked at.

    Raises: UserError if it is broken or does not belong to its sources.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.products = PreparedProducts(folder, self.manifest.num_products)

    def first(self, num_records: int) -> PreparedProducts:
        """The products of the first records."""
        records = load(self.folder, "records")
        return PreparedProducts(self.folder, int(np.searchsorted(records, num_records)))

    def postings(self) -> Postings:
        return Postings(
            Names(self.folder, "tokens"),
            **{name: load(self.folder, f"postings.{name}") for name in POSTINGS},
        )

    def ranks(self) -> npt.NDArray[np.int32]:
        """See SearchIndex."""
        return load(self.folder, "ranks")

    def prices(self, fidelity: str) -> npt.NDArray[np.float64]:
        """By place in the catalogue, dollars."""
        return load(self.folder, f"prices.{fidelity}")

    def goal_table(self, kind: str, fidelity: str) -> GoalTable:
        columns = {name: load(self.folder, f"goals.{kind}.{name}") for name in GOALS}
        return GoalTable(kind=kind, limits=load(self.folder, f"goals.{kind}.limits.{fidelity}"), **columns)

    def leaders(self) -> Mapping[str, str]:
        """See splits.twin_leaders; here every product has one."""
        leading = load(self.folder, "leaders")
        return ByAsin(self.products, lambda place: self.products.asin(int(leading[place])))

    def homes(self) -> npt.NDArray[np.uint8]:
        """Number of the split of each product, by place in the catalogue."""
        return load(self.folder, "homes")

    def having(self, column: str, value: str) -> npt.NDArray[np.integer]:
        """Places of the products with a query, a category or an attribute.

        Args:
            column: "query", "category" or "attributes".
        """
        number = Names(self.folder, column).get(value)
        if number is None:
            return np.arange(0)
        starts = load(self.folder, f"{column}.members.starts")
        members = load(self.folder, f"{column}.members")
        return members[starts[number] : starts[number + 1]]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of figures from this catalogue has to know."""
        broken = self.manifest.left_out.get("broken", 0)
        return (f"{broken} broken records of the catalogue are left out",) if broken else ()


POSTINGS: Final = ("starts", "documents", "saturation", "idf", "peaks")
GOALS: Final = tuple(f.name for f in fields(GoalTable) if f.name not in ("kind", "limits"))


def _other_version(version: object) -> str:
    return f"is of version {version}, this program reads {VERSION}"
