"""The columns of a prepared catalogue that need all of its products: prices, goals, splits and groups."""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from webshop_rl.envs import splits
from webshop_rl.envs.types import SPLITS
from webshop_rl.envs.webshop.columns import Texts, save, write_names
from webshop_rl.envs.webshop.goal_table import SAMPLING_SEED, GoalCollector, sample_price
from webshop_rl.envs.webshop.goals import WebshopGoals
from webshop_rl.envs.webshop.prepared import FIDELITIES, GOALS, KINDS, PreparedProducts

SAID_EVERY = 100_000  # products, some ten seconds


def write_goals(
    folder: Path, products: PreparedProducts, say: Callable[[str], None]
) -> tuple[str, dict[str, dict[str, str]]]:
    """Write prices, goals, splits and groups of all products.

    Args:
        say: told from time to time how far it is.
    Returns: the digest of the products, and of each kind of goals the digest of each split.
    """
    digest = hashlib.sha256()
    pricing = []
    collectors = {kind: GoalCollector(kind) for kind in KINDS}
    asked: list[tuple[str, str]] = []
    groups: dict[str, dict[str, list[int]]] = {"query": {}, "category": {}, "attributes": {}}
    say("makes the goals")
    for place, product in enumerate(products):
        if place and place % SAID_EVERY == 0:
            say(f"makes the goals, {place / len(products):.0%} of the products")
        digest.update(repr(product).encode("utf-8", "surrogatepass"))
        pricing.append(product.pricing)
        for collector in collectors.values():
            collector.add(place, product)
        asked += [(product.asin, text) for text in product.instructions()]
        groups["query"].setdefault(product.query, []).append(place)
        groups["category"].setdefault(product.category, []).append(place)
        for attribute in dict.fromkeys(product.attributes):
            groups["attributes"].setdefault(attribute, []).append(place)
    for name, members in groups.items():
        _write_group(folder, name, members)
    homes = _write_homes(folder, asked, len(products))
    split_digests: dict[str, dict[str, str]] = {}
    for kind, collector in collectors.items():
        for fidelity in FIDELITIES:
            rng = random.Random(SAMPLING_SEED)
            prices = np.array([sample_price(own, rng, fidelity=fidelity) for own in pricing])
            table = collector.table(prices, rng)
            save(folder, f"prices.{fidelity}", prices)
            save(folder, f"goals.{kind}.limits.{fidelity}", table.limits)
        for name in GOALS:
            save(folder, f"goals.{kind}.{name}", getattr(table, name))
        goals = WebshopGoals(products, table)
        own_homes = functools.partial(np.take, homes, table.firsts[table.instructions])
        split_digests[kind] = {
            protocol: splits.assign(goals, protocol, homes=own_homes).digest
            for protocol in ("product", "published", "none")
        }
    return digest.hexdigest(), split_digests


def _write_group(folder: Path, name: str, members: Mapping[str, Sequence[int]]) -> None:
    """The products of each value of a field, as one column with the places where values begin."""
    write_names(folder, name, members)
    save(folder, f"{name}.members.starts", np.cumsum([0, *map(len, members.values())]))
    save(
        folder,
        f"{name}.members",
        np.array([*itertools.chain.from_iterable(members.values())], dtype=np.int32),
    )


def _write_homes(folder: Path, asked: Sequence[tuple[str, str]], num_products: int) -> np.ndarray:
    """The split each product belongs to: that of the first product asked for in the same words.

    Args:
        asked: (ASIN, instruction) of all human instructions.
    Returns: by product, the number of its split in SPLITS.
    """
    leading = splits.twin_leaders(asked)
    places = {asin: place for place, asin in enumerate(Texts(folder, "asins")) if asin in leading}
    leaders = np.empty(num_products, dtype=np.int32)
    homes = np.empty(num_products, dtype=np.uint8)
    for place, asin in enumerate(Texts(folder, "asins")):
        leader = leading.get(asin, asin)
        homes[place] = SPLITS.index(splits.product_split(leader))
        leaders[place] = place if leader == asin else places[leader]
    save(folder, "leaders", leaders)
    save(folder, "homes", homes)
    return homes
