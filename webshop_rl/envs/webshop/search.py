"""Ranked search over the catalogue: BM25 in 32-bit floats, as the original's Lucene index scores it.

score(q, d) = sum over distinct tokens t of q:  w_t - w_t / (1 + f_td * c_d)
    w_t = n_tq * ln(1 + (N - n_t + 0.5) / (n_t + 0.5)),   c_d = 1 / (k1 * (1 - b + b * |d| / avgdl))

n_tq: how often t stands in the query; f_td: in the document; n_t: documents with t; N: documents;
|d|: tokens of d after Lucene's one-byte code; avgdl: mean exact length. k1 0.9, b 0.4. Equal scores are
ordered by ASIN. Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond,
2009; the arithmetic is Lucene's BM25Similarity.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from webshop_rl.envs.webshop.analysis import tokens

K1 = 0.9
B = 0.4
MAX_HITS = 50

Hits = list[tuple[str, float]]


def coded_length(length: int) -> int:
    """A document length after Lucene's one-byte code: exact to 39, then four significant bits.

    Codes 0-23 stand for themselves; from 24 on, the rest is stored as a float with a 3-bit mantissa.
    """
    free = 24
    if length < free:
        return length
    rest = length - free
    bits = rest.bit_length()
    if bits < 4:
        return length
    shift = bits - 4
    return free + ((rest >> shift) << shift)


class SearchIndex:
    """An inverted index of documents; immutable after construction.

    Args:
        documents: (key, text) pairs in rising order of their keys; read once.
    Raises: ValueError if the keys do not rise.
    """

    def __init__(self, documents: Iterable[tuple[str, str]]) -> None:
        self._keys: list[str] = []
        lengths = array("q")
        # Per token, document number and count in turn: flat, for there may be a million documents.
        postings: dict[str, array[int]] = {}
        for number, (key, text) in enumerate(documents):
            if self._keys and key <= self._keys[-1]:
                raise ValueError(f"{key!r} does not come after {self._keys[-1]!r}")
            self._keys.append(key)
            found = tokens(text)
            lengths.append(len(found))
            for token, count in Counter(found).items():
                postings.setdefault(token, array("i")).extend((number, count))
        exact = np.array(lengths, dtype=np.int64)
        # As in Lucene, a document without tokens does not count in N and the mean length.
        total = int(np.count_nonzero(exact))
        inverse = _length_factors(exact, np.float32(exact.sum() / max(1, total)))
        self._documents: dict[str, npt.NDArray[np.int32]] = {}
        self._saturation: dict[str, npt.NDArray[np.float32]] = {}
        self._idf: dict[str, np.float32] = {}
        for token, entries in postings.items():
            table = np.array(entries, dtype=np.int32).reshape(-1, 2)
            numbers = np.ascontiguousarray(table[:, 0])
            self._documents[token] = numbers
            self._saturation[token] = np.float32(1) + table[:, 1].astype(np.float32) * inverse[numbers]
            self._idf[token] = np.float32(math.log(1 + (total - len(numbers) + 0.5) / (len(numbers) + 0.5)))

    def search(self, query: str, limit: int = MAX_HITS) -> Hits:
        """The best documents that share a token with the query, best first: (key, score).

        An empty query, or one of stop words and punctuation only, has no hits.
        """
        return self.search_tokens(tokens(query), limit)

    def search_tokens(self, query_tokens: Sequence[str], limit: int = MAX_HITS) -> Hits:
        """As search, for a query that is already analysed."""
        # Lucene adds the 32-bit parts of a document in 64 bits and rounds the sum.
        scores = np.zeros(len(self._keys), dtype=np.float64)
        for token, count in Counter(query_tokens).items():
            numbers = self._documents.get(token)
            if numbers is not None:
                weight = np.float32(count) * self._idf[token]
                scores[numbers] += weight - weight / self._saturation[token]
        rounded = scores.astype(np.float32)
        matching = np.flatnonzero(rounded)
        best = matching[np.argsort(-rounded[matching], kind="stable")][:limit]
        return [(self._keys[number], float(rounded[number])) for number in best]


def _length_factors(exact: npt.NDArray[np.int64], average: np.float32) -> npt.NDArray[np.float32]:
    """c_d of the module's formula for each document, in 32-bit steps."""
    k1, b, one = np.float32(K1), np.float32(B), np.float32(1)
    coded = np.array([coded_length(int(length)) for length in exact], dtype=np.float32)
    return (one / (k1 * ((one - b) + b * coded / average))).astype(np.float32)
