"""The inverted index of more documents than fit into memory: sorted runs in files, merged at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from webshop_rl.envs.webshop.columns import load, save
from webshop_rl.envs.webshop.postings import idf, length_factors, saturations

_ENTRIES: Final = ("tokens", "documents", "counts")


@dataclass(frozen=True)
class Analysed:
    """Documents as their tokens.

    Attributes:
        vocabulary: the distinct tokens.
        lengths: of each document.
        tokens, documents, counts: how often which token is in which document; both by their place here.
    """

    vocabulary: Sequence[str]
    lengths: npt.NDArray[np.int32]
    tokens: npt.NDArray[np.int32]
    documents: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]


class RunWriter:
    """Collects documents, and writes them sorted by token.

    Args:
        folder: to write in.
        vocabulary: numbers of the tokens so far; it grows.
    """

    def __init__(self, folder: Path, vocabulary: dict[str, int]) -> None:
        self._folder = folder
        self._vocabulary = vocabulary
        self._parts: list[tuple[npt.NDArray[np.int32], ...]] = []
        self._lengths: list[npt.NDArray[np.int32]] = []

    def add(self, documents: Analysed, first: int) -> list[str]:
        """The next documents; returns the tokens that are new.

        Args:
            first: number of the first of them.
        """
        known = self._vocabulary
        before = len(known)
        numbers = np.array([known.setdefault(token, len(known)) for token in documents.vocabulary], np.int32)
        self._parts.append((numbers[documents.tokens], documents.documents + first, documents.counts))
        self._lengths.append(documents.lengths)
        return [token for token in documents.vocabulary if known[token] >= before]

    def write(self, run: int) -> None:
        """Write what was added since the last run."""
        if not self._lengths:
            self._lengths.append(np.zeros(0, np.int32))
            self._parts.append((np.zeros(0, np.int32),) * len(_ENTRIES))
        columns = [np.concatenate(column) for column in zip(*self._parts, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        for name, column in zip(_ENTRIES, columns, strict=True):
            save(self._folder, f"run{run}.{name}", column[order])
        save(self._folder, f"run{run}.lengths", np.concatenate(self._lengths))
        self._parts.clear()
        self._lengths.clear()


def merge(runs: Path, num_runs: int, out: Path, num_tokens: int) -> None:
    """Write the postings of all runs, see Postings.

    Args:
        runs: where RunWriter has written.
        out: the prepared folder.
        num_tokens: of the vocabulary.
    """
    lengths = np.concatenate([load(runs, f"run{run}.lengths") for run in range(num_runs)])
    factors, total = length_factors(lengths.astype(np.int64))
    num_documents = np.zeros(num_tokens, dtype=np.int64)
    for run in range(num_runs):
        num_documents += np.bincount(load(runs, f"run{run}.tokens"), minlength=num_tokens)
    starts = np.concatenate([[0], np.cumsum(num_documents)])
    documents = _column(out, "documents", np.int32, starts[-1])
    saturation = _column(out, "saturation", np.float32, starts[-1])
    next_places = starts[:-1].copy()
    for run in range(num_runs):
        own, own_documents, counts = (load(runs, f"run{run}.{name}") for name in _ENTRIES)
        tokens, firsts, sizes = np.unique(own, return_index=True, return_counts=True)
        # The entries of a token lie together in the run, and go to the next places of the token.
        places = np.arange(len(own)) + np.repeat(next_places[tokens] - firsts, sizes)
        documents[places] = own_documents
        saturation[places] = saturations(counts.astype(np.float32), factors[own_documents])
        next_places[tokens] += sizes
    save(out, "postings.starts", starts)
    save(out, "postings.idf", idf(num_documents, total))
    save(out, "postings.peaks", np.maximum.reduceat(saturation, starts[:-1]) if num_tokens else saturation)


def _column(folder: Path, name: str, kind: type, size: int) -> Any:
    path = folder / f"postings.{name}.npy"
    if not size:
        np.save(path, np.zeros(0, kind))
        return np.zeros(0, kind)
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=(int(size),))
