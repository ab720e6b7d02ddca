"""Products and instructions made from a seed, in the real shop's form, at any size up to MAX_PRODUCTS.

The first five are the five-product shop's (red shoes, blue headphones, ...). The next ten are distractors:
other pairs of the same colours and kinds. The rest come in families of four of a kind that share two of their
three features with a neighbour, most with options to choose, and instructions as the real synthetic ones.
Fewer products of a seed are the first of more. Among generated products only the one asked for, with the
options asked for, has score 1.

A product's code decides its split, as everywhere (splits.product_split); codes are drawn until the first five
train and of every ten after them five train, two validate and three test: small shops have all three splits.
"""

from __future__ import annotations

import itertools
import math
import random
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from webshop_rl.envs.ladder.words import (
    BRANDS,
    COLOUR,
    COLOURS_A_PRODUCT,
    FEATURES,
    FEATURES_A_PRODUCT,
    FIRST_PRICES,
    KINDS,
    OPTION_VALUES,
    SIMPLE_COLOURS,
    SIMPLE_KINDS,
    TEST_FRAMES,
    TRAIN_FRAMES,
    VAL_FRAMES,
    Kind,
)
from webshop_rl.envs.splits import product_split
from webshop_rl.envs.webshop.product import Product
from webshop_rl.errors import UserError

NUM_FIRST: Final = len(FIRST_PRICES)
NUM_SIMPLE: Final = 15
FAMILY: Final = 4
SPLIT_CYCLE: Final = ("train", "test", "train", "val", "train", "test", "train", "val", "train", "test")
MAX_PRODUCTS: Final = NUM_SIMPLE + len(KINDS) * math.comb(len(FEATURES), FEATURES_A_PRODUCT)

_CODE_CHARACTERS: Final = string.ascii_uppercase + string.digits
_FRAMES: Final = {
    **dict.fromkeys(TRAIN_FRAMES, "train"),
    **dict.fromkeys(VAL_FRAMES, "val"),
    **dict.fromkeys(TEST_FRAMES, "test"),
}


@dataclass(frozen=True)
class Draft:
    """A generated product before it is asked for.

    Attributes:
        product: with what is wanted in the place of its instruction: "red shoes".
        frame: the one way in which it is asked for; None for every way.
    """

    product: Product
    frame: str | None


def generate(num_products: int, seed: int) -> list[Draft]:
    """The first num_products generated products of a seed.

    Raises: UserError beyond MAX_PRODUCTS, at which the features no longer tell products apart.
    """
    if num_products > MAX_PRODUCTS:
        raise UserError(
            f"only {MAX_PRODUCTS} products can be told apart",
            where="env.mock_products",
            remedy="ask for fewer",
        )
    rng = random.Random(f"generated products {seed}")
    codes = _codes(rng)
    simple, families = _simple(rng), _families(rng)
    drafts = itertools.chain(simple, families)
    return [
        replace(draft, product=replace(draft.product, asin=next(codes)))
        for draft in itertools.islice(drafts, num_products)
    ]


def instructions(draft: Draft, *, split: str) -> Iterator[Product]:
    """The product once for each way in which it is asked for, with the instruction.

    Args:
        split: the rule of the shop. "product": goals of training products are asked for in training frames
            only, those of the others in any. "instruction": training products only, in all frames.
    """
    home = product_split(draft.product.asin)
    if split == "instruction" and home != "train":
        return
    for frame, frame_home in _FRAMES.items():
        if draft.frame is not None and frame != draft.frame:
            continue
        if split == "product" and home == "train" and frame_home != "train":
            continue
        yield replace(draft.product, instruction=frame.format(draft.product.instruction))


def split_of_instruction(instruction: str) -> str:
    """The split that the frame of a generated instruction belongs to: "train", "val" or "test".

    Raises: ValueError if no frame fits.
    """
    fitting = [frame for frame in _FRAMES if instruction.startswith(frame.format(""))]
    if not fitting:
        raise ValueError(f"not a generated instruction: {instruction!r}")
    return _FRAMES[max(fitting, key=len)]


def _codes(rng: random.Random) -> Iterator[str]:
    """Ten characters each, no two alike, each of the split that its place has."""
    used: set[str] = set()
    for place in itertools.count():
        wanted = "train" if place < NUM_FIRST else SPLIT_CYCLE[(place - NUM_FIRST) % len(SPLIT_CYCLE)]
        code = ""
        while not code or code in used or product_split(code) != wanted:
            code = "GEN" + "".join(rng.choices(_CODE_CHARACTERS, k=7))
        used.add(code)
        yield code


def _simple(rng: random.Random) -> list[Draft]:
    first = list(zip(SIMPLE_COLOURS, SIMPLE_KINDS, strict=True))
    others = [pair for pair in itertools.product(SIMPLE_COLOURS, SIMPLE_KINDS) if pair not in first]
    pairs = [*first, *rng.sample(others, NUM_SIMPLE - NUM_FIRST)]
    prices = [*FIRST_PRICES, *(rng.randint(*kind.prices) for _, kind in pairs[NUM_FIRST:])]
    return [
        Draft(_simple_product(colour, kind, price), None)
        for (colour, kind), price in zip(pairs, prices, strict=True)
    ]


def _simple_product(colour: str, kind: Kind, price: int) -> Product:
    name = f"{colour} {kind.noun}"
    return _product(kind, title=name, features=(colour,), price=price, wanted=name, options={})


def _families(rng: random.Random) -> Iterator[Draft]:
    """Products with features, FAMILY of a kind after one another; the order of the kinds is drawn anew."""
    taken: dict[str, set[frozenset[str]]] = {kind.query: set() for kind in KINDS}
    while True:
        for kind in rng.sample(KINDS, len(KINDS)):
            features = list(rng.sample(FEATURES, FEATURES_A_PRODUCT))
            for _ in range(FAMILY):
                features = _neighbour(features, taken[kind.query], rng)
                yield _family_member(kind, features, rng)


def _neighbour(features: Sequence[str], taken: set[frozenset[str]], rng: random.Random) -> list[str]:
    """Features that differ in one from the given ones where such a set is left, and are now taken."""
    close = [
        [feature if place == left_out else kept for place, kept in enumerate(features)]
        for left_out in range(len(features))
        for feature in FEATURES
        if feature not in features
    ]
    free = [each for each in close if frozenset(each) not in taken]
    if not free:
        every = map(list, itertools.combinations(FEATURES, FEATURES_A_PRODUCT))
        free = [each for each in every if frozenset(each) not in taken]
    chosen = rng.choice(free)
    taken.add(frozenset(chosen))
    return chosen


def _family_member(kind: Kind, features: Sequence[str], rng: random.Random) -> Draft:
    first, second, third = features  # the last stands on the page of features alone, and search ignores it
    brand, price = rng.choice(BRANDS), rng.randint(*kind.prices) - 0.01
    options = {
        name: tuple(rng.sample(values, COLOURS_A_PRODUCT)) if name == COLOUR else values
        for name, values in OPTION_VALUES.items()
        if name in kind.options
    }
    product = _product(
        kind,
        title=f"{brand} {first.title()} {kind.noun} with {second.title()}",
        features=tuple(features),
        price=price,
        wanted=f"{first}, {second} {kind.query} with {third}",
        options=options,
    )
    # A training frame, which a product of any split may have: its options alone make several goals.
    return Draft(product, rng.choice(TRAIN_FRAMES) if options else None)


def _product(
    kind: Kind,
    *,
    title: str,
    features: tuple[str, ...],
    price: float,
    wanted: str,
    options: dict[str, tuple[str, ...]],
) -> Product:
    return Product(
        asin="",
        title=title,
        description="",
        bullets=(kind.query, ", ".join(features)),  # search reads the first
        pricing=(float(price),),
        price_tag=f"${float(price)}",
        options=options,
        attributes=features,
        category=kind.category,
        query=kind.query,
        product_category=f"{kind.aisle} › {kind.query}",
        instruction=wanted,
        instruction_attributes=features,
        human_instructions=(),
        nouns=(kind.noun.lower(),),
    )
