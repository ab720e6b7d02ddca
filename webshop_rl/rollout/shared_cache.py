"""A decoding cache that reads what several transcripts have in common once.

Episodes of one goal begin with the same prompt, and greedy ones stay the same until the shop answers
differently. Transcripts whose tokens are equal so far share a row of the cache; the row is copied when
they part.

    transcripts   0: <prompt> search [ red      1: <prompt> search [ red      2: <prompt> search [ shoes
    rows             0 (0 and 1)                                                 1
"""

from __future__ import annotations

from torch import Tensor

from webshop_rl.models.network import PolicyNetwork
from webshop_rl.models.row_cache import decoding_cache

_NEW = -1  # the row of a transcript that has yet to be read from its start


class SharedCache:
    """As DecodingCache, for B transcripts on at most B rows.

    Args:
        network: the policy network; used without gradient.
        num_transcripts: B.
    """

    def __init__(self, network: PolicyNetwork, num_transcripts: int) -> None:
        self._cache = decoding_cache(network, 1)
        self._row = [0] * num_transcripts

    @property
    def num_rows(self) -> int:
        """Rows in use, as of the last feed."""
        return self._cache.num_rows

    def row(self, transcript: int) -> int:
        """Where the last feed's result for a transcript stands."""
        return self._row[transcript]

    def feed(self, pieces: list[list[int]], pad: int) -> Tensor:
        """Append pieces[b] to transcript b (empty pieces allowed, not all of them).

        Returns: [rows, H] hidden state of the last new token of each row (undefined for empty pieces);
            `row` says which is a transcript's.
        """
        keys = list(zip(self._row, map(tuple, pieces), strict=True))
        place = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        sources = [source for source, _ in place]
        if sources != list(range(self._cache.num_rows)):
            self._cache.keep([max(source, 0) for source in sources])
            for new, source in enumerate(sources):
                if source == _NEW:
                    self._cache.forget(new)
        self._row = [place[key] for key in keys]
        return self._cache.feed([list(piece) for _, piece in place], pad)

    def logits(self, transcripts: list[int]) -> Tensor:
        """[len(transcripts), V] float32 of what follows the last fed token of each; a row is read once."""
        rows = [self._row[transcript] for transcript in transcripts]
        place = {row: place for place, row in enumerate(dict.fromkeys(rows))}
        return self._cache.logits(list(place))[[place[row] for row in rows]]

    def keep(self, transcripts: list[int]) -> None:
        """Drop all other transcripts; their rows go at the next feed."""
        self._row = [self._row[transcript] for transcript in transcripts]

    def forget(self, transcript: int) -> None:
        """Empty one transcript, for one that starts a new segment."""
        self._row[transcript] = _NEW
