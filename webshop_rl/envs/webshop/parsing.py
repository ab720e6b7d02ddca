"""Records of the catalogue to products and their index tokens; a batch is one process' work."""

from __future__ import annotations

import functools
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.analysis import tokens
from webshop_rl.envs.webshop.inverting import Analysed
from webshop_rl.envs.webshop.prepared import as_text
from webshop_rl.envs.webshop.product import Product, as_mapping, as_texts, parse_human, parse_product
from webshop_rl.envs.webshop.title_nouns import MODEL, load_tagger, tag
from webshop_rl.errors import UserError


@dataclass(frozen=True)
class Raw:
    """A usable record and what the other files have of it, as JSON; None where they have nothing."""

    number: int
    where: str
    asin: str
    record: str
    annotation: str | None
    human: str | None
    nouns: str | None


@dataclass(frozen=True)
class Parsed:
    """Records parsed: number, ASIN and text of each product; their index tokens; errors of broken ones."""

    numbers: list[int]
    asins: list[str]
    texts: list[str]
    documents: Analysed
    broken: list[str]


def parse(batch: Sequence[Raw], *, skip_broken: bool, tagged: bool) -> Parsed:
    """Records to products and tokens.

    Args:
        tagged: take the nouns of the titles from spaCy.
    Raises: UserError that names the first broken record.
    """
    products: list[tuple[int, Product]] = []
    broken = []
    for raw in batch:
        try:
            products.append((raw.number, _product(raw, tagged=tagged)))
        except UserError as error:
            if not skip_broken:
                raise
            broken.append(str(error))
    if tagged:
        titles = [(product.asin, product.title) for _, product in products]
        nouns = dict(tag(_tagger(), titles))
        products = [(number, replace(p, nouns=tuple(nouns[p.asin]))) for number, p in products]
    return Parsed(
        [number for number, _ in products],
        [product.asin for _, product in products],
        [as_text(product) for _, product in products],
        _analysed(product for _, product in products),
        broken,
    )


def _product(raw: Raw, *, tagged: bool) -> Product:
    asin = raw.asin
    if raw.nouns is None and not tagged:
        raise UserError(
            f"no title nouns for {asin}, which the reward needs",
            where=raw.where,
            remedy=files.MAKE_NOUNS,
        )
    where = {name: f"{name} of {asin}" for name in ("annotation", "human", "nouns")}
    return parse_product(
        json.loads(raw.record),
        raw.where,
        annotation=as_mapping(json.loads(raw.annotation or "{}"), where["annotation"]),
        annotation_where=f"{raw.where}: annotation",
        human=parse_human(json.loads(raw.human or "[]"), where["human"]),
        nouns=as_texts(json.loads(raw.nouns or "[]"), "nouns", where["nouns"]),
    )


@functools.cache
def _tagger() -> Any:
    return load_tagger(MODEL)


def _analysed(products: Iterable[Product]) -> Analysed:
    vocabulary: dict[str, int] = defaultdict(itertools.count().__next__)
    lengths = []
    columns: tuple[list[int], ...] = ([], [], [])
    for number, product in enumerate(products):
        found = tokens(product.index_text())
        lengths.append(len(found))
        counts = Counter(found)
        columns[0].extend(map(vocabulary.__getitem__, counts))
        columns[1].extend([number] * len(counts))
        columns[2].extend(counts.values())
    arrays = (np.array(column, dtype=np.int32) for column in columns)
    return Analysed(list(vocabulary), np.array(lengths, dtype=np.int32), *arrays)
