"""What a row tells that nothing else does, held to the published sample.

A query that a person typed, the name of a script, a purchase picked at random: such fields decide the
rest of a row and follow from nothing, so an altered one may still make a consistent row. For the rows of
the published sample checksums are kept (published.py). A file most of whose rows are in the sample is
taken for it, and then every row must be. Other files are held to the rules alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache

from webshop_rl.envs.parity.corpus import Row
from webshop_rl.envs.parity.differences import Difference, rule
from webshop_rl.envs.parity.published import CHECKSUMS

CHECKSUM_BYTES = 6
GIVEN_FIELDS = {
    "rewards": "case, goal_index, asin, options or price",
    "searches": "source or query",
    "trajectories": "policy, goal_index or an action",
    "trajectories_rich": "goal_index or an action",
}


def checksum(row: dict[str, object]) -> bytes:
    """Checksum of a whole row, whatever the order of its fields."""
    text = json.dumps(row, sort_keys=True)
    return hashlib.sha256(text.encode()).digest()[:CHECKSUM_BYTES]


def pack(rows: Sequence[Row]) -> str:
    """The checksums of rows as published.py holds them."""
    return base64.b64encode(b"".join(checksum(row.content) for row in rows)).decode()


@lru_cache
def published(kind: str) -> frozenset[bytes]:
    """The checksums of the published rows of a kind; empty for kinds whose rows hold nothing given."""
    packed = base64.b64decode(CHECKSUMS.get(kind, ""))
    return frozenset(
        packed[start : start + CHECKSUM_BYTES] for start in range(0, len(packed), CHECKSUM_BYTES)
    )


def compare_given(kind: str, rows: Sequence[Row]) -> list[Difference | None]:
    """For each row of a file a difference if the file is of the published sample and the row is not."""
    known = [checksum(row.content) in published(kind) for row in rows]
    if 2 * sum(known) <= len(rows):
        return [None] * len(rows)
    told = "as in the published sample"
    return [None if is_known else rule(GIVEN_FIELDS[kind], told, "another") for is_known in known]
