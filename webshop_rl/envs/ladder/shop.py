"""A stage of the ladder: the real shop's environment with generated products, real ones, or both."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from webshop_rl.envs.ladder.difficulty import by_difficulty
from webshop_rl.envs.ladder.generator import generate, instructions, split_of_instruction
from webshop_rl.envs.splits import product_split
from webshop_rl.envs.types import SPLITS
from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.catalogue import Catalogue, leaders_of, load_products
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.errors import UserError

# Of every ten real products of a stage, the splits: about their shares in the whole shop.
SPLIT_TURNS: Final = ("train", "test", "train", "train", "val", "train", "test", "train", "train", "train")


def stage_shop(
    *,
    data_dir: str | None,
    num_products: int | None,
    split: str,
    mock_products: int,
    real_products: int | None,
    catalogue_seed: int,
    product_codes: bool,
    **rest: Any,
) -> WebShop:
    """The shop of a stage; the arguments are the fields of LadderConfig.

    Without data_dir generated products stand in for the real ones, which the shop's remarks say.
    Raises: UserError if the data are broken, or contain fewer products than asked for.
    """
    real: Sequence[Product] = ()
    leaders: dict[str, str] = {}
    remarks: tuple[str, ...] = ()
    num_generated = mock_products
    if real_products != 0 and data_dir is not None:
        everything, ranked = _real_products(data_dir, num_products)
        real = everything if real_products is None else _easiest(everything, ranked, real_products)
        # Twins of the whole catalogue, so that a product is in one split in every stage.
        leaders |= leaders_of(everything)
    elif real_products != 0:
        stand_ins = real_products or num_products or files.SMALL_CATALOGUE
        num_generated += stand_ins
        remarks = (f"{stand_ins} generated products stand in for real ones (no env.data_dir)",)
    drafts = generate(num_generated, catalogue_seed)
    shown = {draft.product.asin: draft.product.asin for draft in drafts}
    if not product_codes:
        shown = {code: f"P{place:02d}" for place, code in enumerate(shown, start=1)}
    leaders |= {name: code for code, name in shown.items()}
    asked = [product for draft in drafts for product in instructions(draft, split=split)]
    named = [replace(product, asin=shown[product.asin]) for product in asked]
    catalogue = Catalogue(
        products=[
            *(replace(draft.product, asin=shown[draft.product.asin], instruction=None) for draft in drafts),
            *real,
        ],
        asked=[*named, *real],
        leaders=leaders,
        split_of=None if real else lambda goal: split_of_instruction(goal.instruction),
        remarks=remarks,
    )
    return WebShop(data_dir=data_dir, num_products=num_products, split=split, catalogue=catalogue, **rest)


@functools.lru_cache(maxsize=2)
def _real_products(data_dir: str, num_products: int | None) -> tuple[Sequence[Product], Sequence[Product]]:
    """The products of a folder, in its order, and those of them with an instruction, as in_turns has them."""
    products = tuple(load_products(files.data_folder(data_dir), num_products=num_products))
    ranked = [each.product for each in by_difficulty(products)]
    return products, tuple(in_turns(ranked, leaders_of(products)))


def in_turns(ranked: Sequence[Product], leaders: Mapping[str, str]) -> Iterator[Product]:
    """The products, the easiest of each split first, split by split as SPLIT_TURNS goes.

    So ten of them have all three splits, and fewer are the first of more.

    Args:
        leaders: which product decides the split of each.
    """
    waiting: dict[str, deque[Product]] = {split: deque() for split in SPLITS}
    for product in ranked:
        waiting[product_split(leaders.get(product.asin, product.asin))].append(product)
    while any(waiting.values()):
        for split in SPLIT_TURNS:
            if waiting[split]:
                yield waiting[split].popleft()


def _easiest(everything: Sequence[Product], ranked: Sequence[Product], number: int) -> Sequence[Product]:
    """The easiest products, then, where too few have an instruction, others; in catalogue order.

    Raises: UserError if there are fewer in all.
    """
    if number > len(everything):
        raise UserError(
            f"only {len(everything)} real products are there, {number} were asked for",
            where="env.real_products",
            remedy="ask for fewer, or raise env.num_products",
        )
    easiest = [product.asin for product in ranked]
    others = [product.asin for product in everything if product.instruction is None]
    chosen = set([*easiest, *others][:number])
    return [product for product in everything if product.asin in chosen]
