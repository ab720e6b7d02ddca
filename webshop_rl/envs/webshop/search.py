"""Ranked search over the catalogue: BM25 in 32-bit floats, as the original's Lucene index scores it.

score(q, d) = sum over distinct tokens t of q:  w_t - w_t / s_td
    w_t = n_tq * ln(1 + (N - n_t + 0.5) / (n_t + 0.5))
    s_td = 1 + f_td * c_d,   c_d = 1 / (k1 * (1 - b + b * |d| / avgdl))

n_tq: how often t stands in the query; f_td: in the document; n_t: documents with t; N: documents;
|d|: tokens of d after Lucene's one-byte code; avgdl: mean exact length. k1 0.9, b 0.4. Equal scores are
ordered by ASIN. Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond,
2009; the arithmetic is Lucene's BM25Similarity.

Among many documents most are never scored: a document that lacks the rare tokens of a query cannot reach
the best 50 however often it has the common ones (MaxScore: Turtle and Flood, Query Evaluation: Strategies
and Optimizations, 1995). What is left out cannot be a hit, so the hits are those of scoring everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from webshop_rl.envs.webshop.analysis import tokens
from webshop_rl.envs.webshop.postings import Postings, PostingsBuilder, Terms

MAX_HITS = 50
# A query with fewer postings than this is scored in full: below it, finding out what to leave out costs more.
FEW_POSTINGS = 200_000
# Documents that are scored first, so that the score of the last hit is known from below.
NUM_SEEDS = 4
# Postings of the rarest tokens among which these are looked for.
SEED_POSTINGS = 60_000
# Sums of 32-bit parts in 64 bits, rounded to 32, are within this of the exact sum.
ROUNDING = 1e-6

Numbers = npt.NDArray[np.int32] | npt.NDArray[np.intp]
Scores = npt.NDArray[np.float64]


class SearchIndex:
    """An inverted index of documents, numbered as they came; immutable.

    Args:
        postings: which documents have which token.
        ranks: place of each document in the order of their keys, which settles equal scores.
    """

    def __init__(self, postings: Postings, ranks: Numbers) -> None:
        self._postings = postings
        self._ranks = ranks

    @classmethod
    def of(cls, documents: Iterable[tuple[str, str]]) -> SearchIndex:
        """The index of (key, text) pairs, read once.

        Raises: ValueError if two have the same key.
        """
        keys: list[str] = []
        builder = PostingsBuilder()
        for key, text in documents:
            keys.append(key)
            builder.add(tokens(text))
        return cls(builder.postings(), ranks_of(keys))

    def search(self, query: str, limit: int = MAX_HITS) -> list[tuple[int, float]]:
        """The best documents that share a token with the query, best first: (number, score).

        An empty query, or one of stop words and punctuation only, has no hits.
        """
        return self.search_tokens(tokens(query), limit)

    def search_tokens(self, query_tokens: Sequence[str], limit: int = MAX_HITS) -> list[tuple[int, float]]:
        """As search, for a query that is already analysed."""
        terms = self._postings.terms(query_tokens)
        if terms is None:
            return []
        few = terms.sizes.sum() < FEW_POSTINGS
        candidates, scores = self._all_scores(terms) if few else self._best_scores(terms, limit)
        rounded = scores.astype(np.float32)
        if len(rounded) > limit:
            least = np.partition(rounded, len(rounded) - limit)[len(rounded) - limit]
            kept = rounded >= least
            candidates, rounded = candidates[kept], rounded[kept]
        best = np.lexsort((self._ranks[candidates], -rounded))[:limit]
        return [
            (number, score)
            for number, score in zip(candidates[best].tolist(), rounded[best].tolist(), strict=True)
            if score
        ]

    def _all_scores(self, terms: Terms) -> tuple[Numbers, Scores]:
        """Every document with one of the terms, and its score."""
        scores = self._sums(terms)
        found = np.flatnonzero(scores)
        return found, scores[found]

    def _sums(self, terms: Terms) -> Scores:
        """The sum of the terms' parts for each document of the index, 0 where it has none of them.

        Lucene adds the 32-bit parts of a document in 64 bits, term by term, as bincount does.
        """
        documents, parts = terms.entries()
        sums = np.bincount(documents, parts, minlength=len(self._ranks))
        return sums.astype(np.float64, copy=False)

    def _best_scores(self, terms: Terms, limit: int) -> tuple[Numbers, Scores]:
        """Documents among which the best `limit` are, and their scores."""
        by_bound = terms.chosen(np.argsort(-terms.bounds, kind="stable"))
        least = self._least_hit(by_bound, limit)
        if not least:
            return self._all_scores(terms)
        # rest[k]: what the terms from place k on can add at most.
        bounds = by_bound.bounds.astype(np.float64)
        rest = np.append(np.cumsum(bounds[::-1])[::-1], 0.0) * (1 + ROUNDING)
        needed = next(place for place in range(1, len(rest)) if rest[place] < least)
        sums = self._sums(by_bound.chosen(range(needed)))
        documents = np.flatnonzero(sums >= least - rest[needed]).astype(np.int32)
        reached = sums[documents]
        for place in range(needed, len(by_bound)):
            reached = reached + by_bound.parts_of(place, documents)
            kept = reached + rest[place + 1] >= least
            documents, reached = documents[kept], reached[kept]
        return documents, _exact(terms, documents)

    def _least_hit(self, by_bound: Terms, limit: int) -> float:
        """A score that the best `limit` documents reach, from some with the rarest terms; 0 if too few."""
        num_first = max(1, int(np.searchsorted(np.cumsum(by_bound.sizes), SEED_POSTINGS)))
        entries, parts = by_bound.chosen(range(num_first)).entries()
        documents, places = np.unique(entries, return_inverse=True)
        if len(documents) < limit:
            return 0.0
        seeds = documents[np.argsort(-np.bincount(places, parts))[: NUM_SEEDS * limit]]
        scores = _exact(by_bound, np.sort(seeds))
        return float(np.partition(scores, len(scores) - limit)[len(scores) - limit]) * (1 - ROUNDING)


def _exact(terms: Terms, documents: npt.NDArray[np.int32]) -> Scores:
    """The scores of some documents, in rising order: the terms' parts added as _sums adds them."""
    scores = np.zeros(len(documents))
    for place in range(len(terms)):
        scores += terms.parts_of(place, documents)
    return scores


def ranks_of(keys: Sequence[str]) -> Numbers:
    """The place of each key in their order.

    Raises: ValueError if two are the same.
    """
    order = sorted(range(len(keys)), key=keys.__getitem__)
    for first, second in itertools.pairwise(order):
        if keys[first] == keys[second]:
            raise ValueError(f"{keys[first]!r} is there twice")
    ranks = np.empty(len(keys), dtype=np.int32)
    ranks[order] = np.arange(len(keys), dtype=np.int32)
    return ranks
