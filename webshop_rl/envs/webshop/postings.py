"""Which documents of a search index have a token, and how much of a score it gives them.

Flat arrays, token after token, so that an index may as well lie in files that processes share.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

K1 = 0.9
B = 0.4


class Vocabulary(Protocol):
    """Numbers of tokens: a dict, or a table in a file."""

    def get(self, token: str, /) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Term:
    """A token of a query.

    Attributes:
        documents: that have it, in rising order.
        saturation: s_td of search.py's formula, for each of them.
        weight: w_t.
        bound: what it adds to a score at most.
    """

    documents: npt.NDArray[np.int32]
    saturation: npt.NDArray[np.float32]
    weight: np.float32
    bound: float

    def parts(self) -> npt.NDArray[np.float32]:
        """What it adds to the score of each of its documents."""
        return self.weight - self.weight / self.saturation

    def parts_of(self, documents: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """What it adds to the scores of some documents, in rising order: 0 where a document lacks it."""
        places = np.searchsorted(self.documents, documents)
        np.minimum(places, len(self.documents) - 1, out=places)
        parts = self.weight - self.weight / self.saturation[places]
        parts[self.documents[places] != documents] = 0
        return parts


@dataclass(frozen=True)
class Postings:
    """The inverted index: of token k, the entries starts[k] to starts[k + 1] of documents and saturation.

    Attributes:
        vocabulary: number of a token.
        starts: [number of tokens + 1].
        documents: numbers of documents, rising for each token.
        saturation: s_td of search.py's formula.
        idf: [number of tokens]: w_t of the formula for a token that stands in the query once.
        peaks: [number of tokens]: the largest saturation of each.
    """

    vocabulary: Vocabulary
    starts: npt.NDArray[np.int64]
    documents: npt.NDArray[np.int32]
    saturation: npt.NDArray[np.float32]
    idf: npt.NDArray[np.float32]
    peaks: npt.NDArray[np.float32]

    def term(self, token: str, count: int) -> Term | None:
        """A token that stands in the query `count` times; None if no document has it."""
        number = self.vocabulary.get(token)
        if number is None:
            return None
        start, end = self.starts[number], self.starts[number + 1]
        weight = np.float32(count) * self.idf[number]
        bound = float(weight - weight / self.peaks[number])
        return Term(self.documents[start:end], self.saturation[start:end], weight, bound)


class PostingsBuilder:
    """Documents, one after the other, to postings."""

    def __init__(self) -> None:
        self._vocabulary: dict[str, int] = {}
        self._lengths = array("i")
        self._tokens = array("i")
        self._documents = array("i")
        self._counts = array("i")

    def add(self, tokens: Sequence[str]) -> None:
        """The next document, as its tokens."""
        number = len(self._lengths)
        self._lengths.append(len(tokens))
        vocabulary = self._vocabulary
        counts = Counter(tokens)
        self._tokens.extend([vocabulary.setdefault(token, len(vocabulary)) for token in counts])
        self._counts.extend(counts.values())
        self._documents.extend([number] * len(counts))

    def postings(self) -> Postings:
        """Of all documents so far."""
        tokens = np.array(self._tokens, dtype=np.int32)
        order = np.argsort(tokens, kind="stable")
        num_documents = np.bincount(tokens, minlength=len(self._vocabulary))
        starts = np.append(0, np.cumsum(num_documents))
        documents = np.array(self._documents, dtype=np.int32)[order]
        counts = np.array(self._counts, dtype=np.float32)[order]
        factors, total = length_factors(np.array(self._lengths, dtype=np.int64))
        saturation = saturations(counts, factors[documents])
        peaks = np.maximum.reduceat(saturation, starts[:-1]) if len(saturation) else saturation
        return Postings(self._vocabulary, starts, documents, saturation, idf(num_documents, total), peaks)


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


def length_factors(lengths: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], int]:
    """c_d of search.py's formula for each document, in 32-bit steps, and N of it.

    As in Lucene, a document without tokens does not count in N and the mean length.
    """
    total = int(np.count_nonzero(lengths))
    average = np.float32(lengths.sum() / max(1, total))
    k1, b, one = np.float32(K1), np.float32(B), np.float32(1)
    different, places = np.unique(lengths, return_inverse=True)
    coded = np.array([coded_length(int(length)) for length in different], dtype=np.float32)
    return (one / (k1 * ((one - b) + b * coded / average)))[places], total


def saturations(counts: npt.NDArray[np.float32], factors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """s_td of search.py's formula, from f_td and c_d."""
    return np.float32(1) + counts * factors


def idf(num_documents: npt.NDArray[np.integer], total: int) -> npt.NDArray[np.float32]:
    """The logarithm of search.py's formula, from n_t of each token and N."""
    different, places = np.unique(num_documents, return_inverse=True)
    logarithms = [math.log(1 + (total - n + 0.5) / (n + 0.5)) for n in different.tolist()]
    return np.array(logarithms, dtype=np.float32)[places]
