"""Reads a catalogue to products and sorted runs of postings; goes on where it was interrupted."""

from __future__ import annotations

import functools
import itertools
import json
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from webshop_rl.duration import duration, time_left_s
from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.columns import Texts, TextsWriter, save
from webshop_rl.envs.webshop.inverting import RunWriter
from webshop_rl.envs.webshop.parsing import Raw, parse
from webshop_rl.envs.webshop.product import (
    MAX_ASIN_LENGTH,
    text_field,
)
from webshop_rl.errors import UserError
from webshop_rl.storage.files import replace_file

BATCH: Final = 500  # records that a process parses at a time
RUN: Final = 20_000  # records after which an interrupted command goes on
STATE: Final = "state.json"
RUNS: Final = "runs"


@dataclass(frozen=True)
class Request:
    """What to prepare.

    Attributes:
        data_dir: folder of the original files.
        out: folder to write.
        num_records: only the first so many of the catalogue; None for all.
        skip_broken: leave a broken record out, and count it, where otherwise it is an error.
        workers: processes that parse; 1 does all in this one.
    """

    data_dir: Path
    out: Path
    num_records: int | None
    skip_broken: bool
    workers: int


@dataclass
class State:
    """How far an interrupted command has come.

    Attributes:
        key: what it was asked for, and of which files.
        num_records: of the catalogue that are in the runs.
        offset: bytes of the catalogue that were read.
        runs: number of runs written.
        num_products, num_tokens: that are in them; what the files have beyond is of a run that was cut.
        left_out: records left out, by reason.
        whole: whether the catalogue is at its end.
    """

    key: dict[str, Any]
    num_records: int = 0
    offset: int = 0
    runs: int = 0
    num_products: int = 0
    num_tokens: int = 0
    left_out: dict[str, int] | None = None
    whole: bool = False


class Sources:
    """The original files of a folder."""

    def __init__(self, folder: Path, num_records: int | None) -> None:
        find = functools.partial(files.find, folder, num_products=num_records)
        self.catalogue = find(files.PRODUCT_FILES)
        self.annotations = find(files.INSTRUCTION_FILES)
        self.human = find(files.HUMAN_FILES)
        nouns = folder / files.NOUN_FILES[0]
        self.nouns = nouns if nouns.is_file() else None

    def paths(self) -> list[Path]:
        return [path for path in (self.catalogue, self.annotations, self.human, self.nouns) if path]


class Reading:
    """The catalogue to products, ASINs and sorted runs of postings."""

    def __init__(
        self, request: Request, sources: Sources, folder: Path, state: State, say: Callable[[str], None]
    ) -> None:
        self._request = request
        self._sources = sources
        self._folder = folder
        self._state = state
        self._left_out = Counter(state.left_out or {})
        self._progress = _Progress(say, sources.catalogue.stat().st_size, state.offset)
        self._say = say
        self._products = _resumed(folder, "products", state.num_products)
        self._asins = _resumed(folder, "asins", state.num_products)
        self._tokens = _resumed(folder, "tokens", state.num_tokens)
        self._numbers = list[int]()
        self._seen = set[str]()
        vocabulary: dict[str, int] = {}
        if state.runs:
            self._numbers = np.load(folder / "records.npy")[: state.num_products].tolist()
            self._seen = set(Texts(folder, "asins"))
            vocabulary = {token: number for number, token in enumerate(Texts(folder, "tokens"))}
        self._runs = RunWriter(folder / RUNS, vocabulary)

    def run(self) -> None:
        """Read to the end, writing a run after each RUN records."""
        say = self._say
        say("reads the annotations")
        kept: list[dict[str, str]] = []
        for path in (self._sources.annotations, self._sources.human, self._sources.nouns):
            kept.append(dict(files.read_members(path)) if path else {})
        self._annotations, self._human, self._nouns = kept
        records = files.Records(
            self._sources.catalogue, number=self._state.num_records, offset=self._state.offset
        )
        numbered = iter(records)
        workers = self._request.workers
        pool = ProcessPoolExecutor(workers, initializer=_end_with_parent) if workers > 1 else None
        try:
            while not self._state.whole:
                wanted = RUN
                if self._request.num_records is not None:
                    wanted = min(RUN, self._request.num_records - self._state.num_records)
                # Of a record its text is kept: the object is made again where it is parsed.
                own = [
                    (number, {"asin": record.get("asin")}, records.text)
                    for number, record in itertools.islice(numbered, wanted)
                ]
                self._one_run(own, wanted, records.offset, pool)
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)
        for writer in (self._products, self._asins, self._tokens):
            writer.close()

    def _one_run(
        self,
        records: list[tuple[int, dict[str, Any], str]],
        wanted: int,
        offset: int,
        pool: ProcessPoolExecutor | None,
    ) -> None:
        usable = list(self._usable(records))
        batches = [usable[first : first + BATCH] for first in range(0, len(usable), BATCH)]
        work = functools.partial(
            parse, skip_broken=self._request.skip_broken, tagged=self._sources.nouns is None
        )
        for parsed in (pool.map if pool else map)(work, batches):
            self._tokens.extend(self._runs.add(parsed.documents, len(self._asins)))
            self._products.extend(parsed.texts)
            self._asins.extend(parsed.asins)
            self._numbers += parsed.numbers
            for error in parsed.broken:
                self._left_out["broken"] += 1
                if self._left_out["broken"] <= 10:
                    self._say(f"left out: {error}")
        state = self._state
        self._runs.write(state.runs)
        for writer in (self._products, self._asins, self._tokens):
            writer.flush()
        save(self._folder, "records", np.array(self._numbers, dtype=np.int32))
        state.runs += 1
        state.num_products = len(self._asins)
        state.num_tokens = len(self._tokens)
        state.num_records += len(records)
        state.offset = offset
        state.left_out = dict(self._left_out)
        limit = self._request.num_records
        state.whole = len(records) < wanted or state.num_records == limit
        if limit is not None and state.whole and state.num_records < limit:
            raise UserError(
                f"holds only {state.num_records} products, {limit} were asked for",
                where=str(self._sources.catalogue),
                remedy="lower --num-products, leave it out for all, or get the full files",
            )
        replace_file(self._folder / STATE, json.dumps(asdict(state)))
        self._progress.show(state.num_records, offset)

    def _usable(self, records: Iterable[tuple[int, dict[str, Any], str]]) -> Iterator[Raw]:
        """The records that the original uses, with what the other files have of them."""
        for number, record, text in records:
            where = f"{self._sources.catalogue}: record {number}"
            try:
                asin = text_field(record, "asin", where)
            except UserError as error:
                if not self._request.skip_broken:
                    raise
                self._left_out["broken"] += 1
                self._say(f"left out: {error}")
                continue
            if asin == "nan" or len(asin) > MAX_ASIN_LENGTH:
                self._left_out["without an ASIN"] += 1
            elif asin in self._seen:
                self._left_out["with an ASIN seen before"] += 1
            else:
                self._seen.add(asin)
                yield Raw(
                    number,
                    where,
                    asin,
                    text,
                    self._annotations.get(asin),
                    self._human.get(asin),
                    self._nouns.get(asin),
                )


def _end_with_parent() -> None:
    """Let a worker whose parent was killed not wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _resumed(folder: Path, name: str, number: int) -> TextsWriter:
    """A column cut back to so many texts."""
    starts = np.load(folder / f"{name}.starts.npy")[: number + 1].tolist() if number else (0,)
    writer = TextsWriter(folder, name, starts)
    writer.flush()
    return writer


class _Progress:
    """How far the catalogue is read, and how long the rest takes."""

    def __init__(self, say: Callable[[str], None], size: int, offset: int) -> None:
        self._say = say
        self._size = max(1, size)
        self._first = offset
        self._began = time.monotonic()

    def show(self, num_records: int, offset: int) -> None:
        left_s = time_left_s(time.monotonic() - self._began, offset, self._first, self._size) or 0.0
        share = offset / self._size
        self._say(f"{num_records:,} records, {share:.0%} of the catalogue, {duration(left_s)} left")
