"""Which goals are for training, validation and test: fixed, and the same on every machine.

"product": by the hash of the ASIN, so no product, and no two goals of one product, is in two splits.
Products that share an instruction (twins) go where the one with the smallest ASIN goes, so no text is in
two splits either. About 70 % of the products train, 10 % validate, 20 % test; the share of goals
differs, for a product may have one goal or hundreds. "published": the literature's, by the place of a
goal in the shuffled list: 0-499 test, 500-1499 validation, the rest training; products leak between its
splits. "instruction": by how a goal is asked for, where all products are training products; the shop knows
which ways are held out. "none": every goal in every split, for shops too small to divide.

Human goals are split by the same rules. The 1,000-product catalogue has 13 of them: under "published"
all 13 are test goals, under "product" each goes with its product. A split without goals is an error for
whoever asks for it, never an empty result.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from webshop_rl.envs.goal_lists import Places, at, homes_of, names
from webshop_rl.envs.types import SPLITS, Goal
from webshop_rl.errors import UserError

PROTOCOLS = ("product", "published", "instruction", "none")
SALT = "webshop_rl split 1"
VAL_SHARE = 0.10
TEST_SHARE = 0.20
PUBLISHED_TEST_END = 500
PUBLISHED_VAL_END = 1500
ALL = "all"
LINES_AT_A_TIME = 10_000

G = TypeVar("G", bound=Goal)


class Split:
    """An assignment of goals to splits.

    Args:
        protocol: the rule that made it.
        goals: in their fixed order.
        places: those of each split's goals, rising.
        digest: of the assignment, where it is known already.
    """

    def __init__(
        self, protocol: str, goals: Sequence[Goal], places: Mapping[str, Places], digest: str | None = None
    ) -> None:
        self.protocol = protocol
        self.places = places
        self._goals = goals
        self._digest = digest

    @property
    def digest(self) -> str:
        """Hex digest of protocol and assignment."""
        if self._digest is None:
            digest = hashlib.sha256(self.protocol.encode())
            for split in SPLITS:
                own = names(at(self._goals, self.places[split]))
                _add(digest, (f"\n{split} {goal_id}" for goal_id, _ in own))
            _add(digest, (f"\n{goal_id} {asin}" for goal_id, asin in names(self._goals)))
            self._digest = digest.hexdigest()
        return self._digest

    def select(self, goals: Sequence[G], split: str) -> Sequence[G]:
        """The goals of a split, or of "all", in their order.

        Raises: UserError if the split is unknown or contains no goal.
        """
        if split == ALL:
            return goals
        if split not in self.places:
            raise UserError(
                f"no split {split!r}", where="split", remedy=f"one of {', '.join((*SPLITS, ALL))}"
            )
        places = self.places[split]
        if not len(places):
            raise UserError(
                f"the {split} split of {len(goals)} goals contains none under env.split={self.protocol}",
                where="env.split",
                remedy="use more products or other goals, another env.split, or the split 'all'",
            )
        return at(goals, places)


def _add(digest: hashlib._Hash, lines: Iterator[str]) -> None:
    while some := "".join(itertools.islice(lines, LINES_AT_A_TIME)):
        digest.update(some.encode())


def product_split(asin: str) -> str:
    """The split of a product: "train", "val" or "test", from the SHA-256 of salt and ASIN."""
    draw = int.from_bytes(hashlib.sha256(f"{SALT}/{asin}".encode()).digest()[:8], "big") / 2**64
    if draw < TEST_SHARE:
        return "test"
    return "val" if draw < TEST_SHARE + VAL_SHARE else "train"


def twin_leaders(instructions: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Which product decides the split of each: the smallest ASIN among those that share an instruction.

    Sharing is transitive: a product with the instructions x and y joins the products of both.

    Args:
        instructions: (ASIN, instruction without options and price), in any order, several a product or none.
    Returns: for each ASIN the one that leads its group; a product without twins leads itself.
    """
    leaders: dict[str, str] = {}

    def leader(asin: str) -> str:
        while leaders.setdefault(asin, asin) != asin:
            asin = leaders[asin]
        return asin

    first_of: dict[str, str] = {}
    for asin, instruction in instructions:
        one, other = leader(asin), leader(first_of.setdefault(instruction, asin))
        leaders[max(one, other)] = min(one, other)
    return {asin: leader(asin) for asin in leaders}


def published_split(index: int) -> str:
    """The split of the goal at a place of the shuffled list in the literature's protocol."""
    if index < PUBLISHED_TEST_END:
        return "test"
    return "val" if index < PUBLISHED_VAL_END else "train"


def assign(
    goals: Sequence[Goal],
    protocol: str,
    leaders: Mapping[str, str] | None = None,
    split_of: Callable[[Goal], str] | None = None,
    *,
    homes: Callable[[], npt.NDArray[np.uint8]] | None = None,
    digest: str | None = None,
) -> Split:
    """Assign goals, in their fixed order, to splits.

    Args:
        leaders: which product decides the split of each (twin_leaders); itself where it is not named.
        split_of: the split of a goal under "instruction".
        homes: gives what follows from goals and leaders under "product", number by goal, if it is known.
        digest: of the assignment, where it is known already.
    Raises: UserError if the protocol is unknown, or it is "instruction" without a rule.
    """
    if protocol not in PROTOCOLS:
        raise UserError(
            f"no split protocol {protocol!r}", where="env.split", remedy=f"one of {', '.join(PROTOCOLS)}"
        )
    if protocol == "instruction" and split_of is None:
        raise UserError("this shop holds out no way of asking", where="env.split", remedy="env.split=product")
    if protocol == "none":
        every = np.arange(len(goals))
        return Split(protocol, goals, dict.fromkeys(SPLITS, every), digest)
    if protocol == "published":
        held_out = [published_split(index) for index in range(min(len(goals), PUBLISHED_VAL_END))]
        numbers = np.full(len(goals), SPLITS.index("train"), dtype=np.uint8)
        numbers[: len(held_out)] = [SPLITS.index(split) for split in held_out]
    elif protocol == "instruction" and split_of is not None:
        numbers = np.array([SPLITS.index(split_of(goal)) for goal in goals], dtype=np.uint8)
    elif homes is not None:
        numbers = homes()
    else:
        numbers = homes_of(goals, lambda asin: SPLITS.index(product_split((leaders or {}).get(asin, asin))))
    places = {split: np.flatnonzero(numbers == number) for number, split in enumerate(SPLITS)}
    return Split(protocol, goals, places, digest)
