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

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from webshop_rl.envs.webshop.analysis import tokens
from webshop_rl.envs.webshop.postings import Postings, PostingsBuilder, Terms, Workspace

MAX_HITS = 50
# With so few documents every one is scored, from what is remembered of the words.
FEW_DOCUMENTS = 2_000
PARTS_KEPT = 4_096
# A query with fewer postings than this is scored in full: below it, finding out what to leave out costs more.
FEW_POSTINGS = 50_000
# The terms that are added up for every document before any is left out: those after them can add this share.
FIRST_LEFT = 0.15
# Documents whose scores say what a hit has to reach, times the number of hits.
NUM_SEEDS = 4
SEED_SHARE = 0.6  # of the largest sum so far, among which they are
# What looking a term up for one document costs, in postings of a term that is added up for every document.
LOOKUP_COST = 20
# Sums in 32 bits are within this of the exact ones, relative to the sum of all bounds.
ROUNDING = 1e-5

Numbers = npt.NDArray[np.integer]
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
        # Those that no search is using.
        self._rooms: list[Workspace] = []
        # Of few documents, what the same words add to scores is remembered.
        self._parts = functools.lru_cache(PARTS_KEPT)(postings.parts) if len(ranks) <= FEW_DOCUMENTS else None

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
        counts = self._postings.counts(query_tokens)
        if not counts:
            return []
        if self._parts is not None:
            candidates, scores = _sums([self._parts(number, count) for number, count in counts.items()])
        else:
            terms = self._postings.terms(counts)
            with self._room() as room:
                if terms.sizes.sum() < FEW_POSTINGS:
                    candidates, scores = _sums([terms.entries(room)])
                else:
                    candidates, scores = self._best_scores(terms, limit, room)
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

    @contextlib.contextmanager
    def _room(self) -> Iterator[Workspace]:
        """Within: arrays that no other thread writes to."""
        try:
            room = self._rooms.pop()
        except IndexError:
            room = Workspace(len(self._ranks))
        yield room
        self._rooms.append(room)

    def _best_scores(self, terms: Terms, limit: int, room: Workspace) -> tuple[Numbers, Scores]:
        """Documents among which the best `limit` are, and their scores."""
        by_bound = terms.chosen(np.argsort(-terms.bounds, kind="stable"))
        # rest[k]: what the terms from place k on can add at most.
        bounds = by_bound.bounds.astype(np.float64)
        rest = np.append(np.cumsum(bounds[::-1])[::-1], 0.0) + ROUNDING * bounds.sum()
        done = int(np.argmax(rest[1:] <= rest[-1] + FIRST_LEFT * bounds.sum())) + 1
        sums = by_bound.chosen(range(done)).sums(room)
        least = _least_hit(by_bound, done, sums, limit) - ROUNDING * bounds.sum()
        if least <= rest[done]:
            return _sums([terms.entries(room)])
        # Other terms are added up too, or looked up for the documents that are left: what costs less.
        # In 32 bits, as the sums are: beside a 64-bit number each of them would be widened first.
        documents = np.flatnonzero(sums >= np.nextafter(np.float32(least - rest[done]), np.float32(-np.inf)))
        while done < len(by_bound):
            lookups = LOOKUP_COST * len(documents) * (len(by_bound) - done)
            if lookups < by_bound.sizes[done] + len(sums):
                break
            sums += by_bound.chosen([done]).sums(room)
            done += 1
            documents = documents[sums[documents] >= least - rest[done]]
        reached = sums[documents]
        for place in range(done, len(by_bound)):
            reached = reached + by_bound.parts_of(place, documents)
            kept = reached >= least - rest[place + 1]
            documents = documents[kept]
            reached = reached[kept]
        return documents, _exact(terms, documents)


def _sums(entries: Sequence[tuple[Numbers, npt.NDArray[np.floating]]]) -> tuple[Numbers, Scores]:
    """The documents of entries, and their scores.

    Lucene adds the 32-bit parts of a document in 64 bits, term by term, as bincount does.

    Args:
        entries: documents, and what terms add to their scores, term after term.
    """
    documents = np.concatenate([documents for documents, _ in entries])
    parts = np.concatenate([parts for _, parts in entries])
    scores: Scores = np.bincount(documents, parts).astype(np.float64, copy=False)
    found = np.flatnonzero(scores)
    return found, scores[found]


def _least_hit(by_bound: Terms, done: int, sums: npt.NDArray[np.float32], limit: int) -> float:
    """About a score that the best `limit` documents reach, from those with the largest sums; 0 if too few.

    Args:
        by_bound: the terms of the query.
        done: how many of them are in the sums.
        sums: by document.
    """
    promising = np.flatnonzero(sums > SEED_SHARE * sums.max())
    if len(promising) < limit:
        promising = np.flatnonzero(sums)
        if len(promising) < limit:
            return 0.0
    number = min(NUM_SEEDS * limit, len(promising))
    seeds = np.sort(promising[np.argpartition(-sums[promising], number - 1)[:number]])
    reached = sums[seeds]
    for place in range(done, len(by_bound)):
        reached = reached + by_bound.parts_of(place, seeds)
    return float(np.partition(reached, number - limit)[number - limit])


def _exact(terms: Terms, documents: Numbers) -> Scores:
    """The scores of some documents, in rising order: the terms' parts added as in scoring everything."""
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
