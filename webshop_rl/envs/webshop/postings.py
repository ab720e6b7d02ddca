"""Which documents of a search index have a token, and how much of a score it gives them.

Flat arrays, token after token, so that an index may as well lie in files that processes share.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

K1 = 0.9
B = 0.4


class Vocabulary(Protocol):
    """Numbers of tokens: a dict, or a table in a file."""

    def get(self, token: str, /) -> int | None: ...


class Workspace:
    """Arrays that one search after the other writes to: fresh ones cost as much in page faults as the sums.

    Args:
        num_documents: of the index.
    """

    def __init__(self, num_documents: int) -> None:
        self._num_documents = num_documents
        self._documents = np.empty(0, dtype=np.int32)
        self._parts = np.empty(0, dtype=np.float32)
        self._column: Any = None

    def entries(self, size: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Room for documents and parts, with whatever an earlier search left there."""
        if len(self._documents) < size:
            self._documents = np.empty(size, dtype=np.int32)
            self._parts = np.empty(size, dtype=np.float32)
        return self._documents[:size], self._parts[:size]

    def by_document(
        self, documents: npt.NDArray[np.int32], parts: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """The sum of the parts of each document of the index, an array of its own."""
        if self._column is None:
            from scipy.sparse import csc_array  # not loaded where the catalogue is small

            self._column = csc_array((self._num_documents, 1), dtype=np.float32)
        # One matrix that is filled anew: to make one, scipy looks for the largest index, which takes as long.
        self._column.indices = documents
        self._column.data = parts
        self._column.indptr = np.array([0, len(parts)], dtype=np.int32)
        sums: npt.NDArray[np.float32] = self._column @ np.ones(1, dtype=np.float32)
        return sums


class Terms:
    """The distinct tokens of a query that some document has, in some order.

    Args:
        postings: of the index.
        numbers: of the tokens.
        weights: w_t of search.py's formula.

    Attributes:
        bounds: what each adds to a score at most.
        sizes: the number of documents with each.
    """

    def __init__(
        self, postings: Postings, numbers: npt.NDArray[np.intp], weights: npt.NDArray[np.float32]
    ) -> None:
        self._postings = postings
        self._numbers = numbers
        self._weights = weights
        self.bounds = weights - weights / postings.peaks[numbers]
        starts = postings.starts[numbers]
        ends = postings.starts[numbers + 1]
        self.sizes = ends - starts
        self._extents = list(zip(starts.tolist(), ends.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self._extents)

    def chosen(self, places: Sequence[int] | npt.NDArray[np.intp]) -> Terms:
        """Some of them, in another order."""
        return Terms(self._postings, self._numbers[places], self._weights[places])

    def entries(self, room: Workspace) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Term after term, the documents that have it, in rising order, and what it adds to their scores.

        Returns: views of the room's arrays.
        """
        documents, parts = room.entries(int(self.sizes.sum()))
        first = 0
        for (start, end), weight in zip(self._extents, self._weights, strict=True):
            own = slice(first, first + end - start)
            documents[own] = self._postings.documents[start:end]
            # In place: what is written once more costs as much as the arithmetic.
            np.divide(weight, self._postings.saturation[start:end], out=parts[own])
            np.subtract(weight, parts[own], out=parts[own])
            first = own.stop
        return documents, parts

    def sums(self, room: Workspace) -> npt.NDArray[np.float32]:
        """The sum of what the terms add to the score of each document of the index, in 32 bits."""
        return room.by_document(*self.entries(room))

    def parts_of(self, place: int, documents: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """What one term adds to the scores of some documents, in rising order: 0 where one lacks it."""
        start, end = self._extents[place]
        own = self._postings.documents[start:end]
        found = own.searchsorted(documents.astype(np.int32, copy=False))
        weight = self._weights[place]
        saturation = self._postings.saturation[start:end].take(found, mode="clip")
        parts: npt.NDArray[np.float32] = weight - weight / saturation
        parts *= own.take(found, mode="clip") == documents
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

    def counts(self, tokens: Iterable[str]) -> dict[int, int]:
        """How often each token of a query stands in it, by number, in the order in which they first occur.

        A token that no document has is not among them.
        """
        counts: dict[int, int] = {}
        for token, count in Counter(tokens).items():
            number = self.vocabulary.get(token)
            if number is not None:
                counts[number] = count
        return counts

    def terms(self, counts: Mapping[int, int]) -> Terms:
        """The tokens of a query, as counts has them."""
        numbers = np.array(list(counts), dtype=np.intp)
        weights = np.array(list(counts.values()), dtype=np.float32) * self.idf[numbers]
        return Terms(self, numbers, weights)

    def parts(self, number: int, count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """The documents that have a token, and what it adds to their scores.

        Args:
            number: of the token.
            count: how often it stands in the query.
        """
        own = slice(self.starts[number], self.starts[number + 1])
        weight = np.float32(count) * self.idf[number]
        parts = weight - weight / self.saturation[own]
        return self.documents[own].astype(np.intp), parts.astype(np.float64)


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
