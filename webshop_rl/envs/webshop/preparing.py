"""Writes a prepared catalogue: reads the original files once, goes on where it was interrupted."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import multiprocessing
import os
import random
import shutil
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from webshop_rl.duration import duration
from webshop_rl.envs import splits
from webshop_rl.envs.types import SPLITS
from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.analysis import tokens
from webshop_rl.envs.webshop.columns import Texts, TextsWriter, index_names, save, write_names
from webshop_rl.envs.webshop.goal_table import SAMPLING_SEED, GoalCollector, sample_price
from webshop_rl.envs.webshop.goals import WebshopGoals
from webshop_rl.envs.webshop.inverting import Analysed, RunWriter, merge
from webshop_rl.envs.webshop.prepared import (
    FIDELITIES,
    GOALS,
    KINDS,
    MANIFEST,
    VERSION,
    Manifest,
    PreparedProducts,
    as_text,
    sha256_of,
)
from webshop_rl.envs.webshop.product import (
    MAX_ASIN_LENGTH,
    Product,
    as_mapping,
    as_texts,
    parse_human,
    parse_product,
    text_field,
)
from webshop_rl.envs.webshop.search import ranks_of
from webshop_rl.envs.webshop.title_nouns import MODEL, load_tagger, tag
from webshop_rl.errors import UserError
from webshop_rl.storage.files import read_json, replace_file, sync

BATCH: Final = 500  # records that a process parses at a time
RUN: Final = 20_000  # records after which an interrupted command goes on
_STATE: Final = "state.json"
_RUNS: Final = "runs"


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


@dataclass(frozen=True)
class Raw:
    """A usable record and what the other files have of it, as JSON; None where they have nothing."""

    number: int
    where: str
    asin: str
    record: str
    annotation: str | None
    human: str | None
    nouns: str | None


@dataclass(frozen=True)
class Parsed:
    """Records parsed: number, ASIN and text of each product; their index tokens; errors of broken ones."""

    numbers: list[int]
    asins: list[str]
    texts: list[str]
    documents: Analysed
    broken: list[str]


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


def prepare(request: Request, say: Callable[[str], None]) -> Manifest:
    """Write the prepared folder, or what is missing of it.

    Raises: UserError if a file is missing or broken, or out is something else already.
    """
    sources = Sources(request.data_dir, request.num_records)
    if sources.nouns is None:
        load_tagger(MODEL)  # refuses before the cost
    partial = request.out.with_name(f".{request.out.name}.partial")
    key = {
        "version": VERSION,
        "sources": {p.name: [p.stat().st_size, p.stat().st_mtime_ns] for p in sources.paths()},
        "num_records": request.num_records,
        "skip_broken": request.skip_broken,
    }
    found = read_json(partial / _STATE)
    if found is None or found["key"] != json.loads(json.dumps(key)):
        shutil.rmtree(partial, ignore_errors=True)
        (partial / _RUNS).mkdir(parents=True)
        state = State(key, left_out={})
    else:
        state = State(**found)
        say(f"goes on after {state.num_records:,} records")
    if not state.whole:
        _Reading(request, sources, partial, state, say).run()
    manifest = _finish(request, sources, partial, state, say)
    shutil.rmtree(partial / _RUNS)
    (partial / _STATE).unlink()
    for path in partial.iterdir():
        sync(path)
    _put_in_place(partial, request.out)
    return manifest


def _put_in_place(partial: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    if out.exists():
        out.rename(old)
    partial.rename(out)
    sync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


class _Reading:
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
        self._runs = RunWriter(folder / _RUNS, vocabulary)

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
            _parse, skip_broken=self._request.skip_broken, tagged=self._sources.nouns is None
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
        replace_file(self._folder / _STATE, json.dumps(asdict(state)))
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


def _parse(batch: Sequence[Raw], *, skip_broken: bool, tagged: bool) -> Parsed:
    """Records to products and tokens.

    Args:
        tagged: take the nouns of the titles from spaCy.
    Raises: UserError that names the first broken record.
    """
    products: list[tuple[int, Product]] = []
    broken = []
    for raw in batch:
        try:
            products.append((raw.number, _product(raw, tagged=tagged)))
        except UserError as error:
            if not skip_broken:
                raise
            broken.append(str(error))
    if tagged:
        titles = [(product.asin, product.title) for _, product in products]
        nouns = dict(tag(_tagger(), titles))
        products = [(number, replace(p, nouns=tuple(nouns[p.asin]))) for number, p in products]
    return Parsed(
        [number for number, _ in products],
        [product.asin for _, product in products],
        [as_text(product) for _, product in products],
        _analysed(product for _, product in products),
        broken,
    )


def _product(raw: Raw, *, tagged: bool) -> Product:
    asin = raw.asin
    if raw.nouns is None and not tagged:
        raise UserError(
            f"no title nouns for {asin}, which the reward needs",
            where=raw.where,
            remedy=files.MAKE_NOUNS,
        )
    where = {name: f"{name} of {asin}" for name in ("annotation", "human", "nouns")}
    return parse_product(
        json.loads(raw.record),
        raw.where,
        annotation=as_mapping(json.loads(raw.annotation or "{}"), where["annotation"]),
        annotation_where=f"{raw.where}: annotation",
        human=parse_human(json.loads(raw.human or "[]"), where["human"]),
        nouns=as_texts(json.loads(raw.nouns or "[]"), "nouns", where["nouns"]),
    )


@functools.cache
def _tagger() -> Any:
    return load_tagger(MODEL)


def _analysed(products: Iterable[Product]) -> Analysed:
    vocabulary: dict[str, int] = defaultdict(itertools.count().__next__)
    lengths = []
    columns: tuple[list[int], ...] = ([], [], [])
    for number, product in enumerate(products):
        found = tokens(product.index_text())
        lengths.append(len(found))
        counts = Counter(found)
        columns[0].extend(map(vocabulary.__getitem__, counts))
        columns[1].extend([number] * len(counts))
        columns[2].extend(counts.values())
    arrays = (np.array(column, dtype=np.int32) for column in columns)
    return Analysed(list(vocabulary), np.array(lengths, dtype=np.int32), *arrays)


def _finish(
    request: Request, sources: Sources, folder: Path, state: State, say: Callable[[str], None]
) -> Manifest:
    """The columns that need all products, and the manifest."""
    num_products = len(Texts(folder, "asins"))
    if not num_products:
        raise UserError("contains no usable product", where=str(sources.catalogue), remedy=files.GET_DATA)
    say("merges the index")
    merge(folder / _RUNS, state.runs, folder, len(Texts(folder, "tokens")))
    for name in ("asins", "tokens"):
        index_names(folder, name)
    save(folder, "ranks", ranks_of(list(Texts(folder, "asins"))))
    say("makes the goals")
    products_digest, split_digests = _write_goals(folder, PreparedProducts(folder, num_products))
    say("reads the sources once more, for their digests")
    described = {
        path.name: {
            "size": path.stat().st_size,
            "mtime_ns": path.stat().st_mtime_ns,
            "sha256": sha256_of(path),
        }
        for path in sources.paths()
    }
    written = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    written.pop(_STATE)
    manifest = Manifest(
        version=VERSION,
        sources_folder=os.path.relpath(request.data_dir.resolve(), request.out.resolve()),
        sources=described,
        files=written,
        num_records=state.num_records,
        whole=request.num_records is None,
        num_products=num_products,
        left_out=state.left_out or {},
        nouns=MODEL if sources.nouns is None else sources.nouns.name,
        products_digest=products_digest,
        split_digests=split_digests,
    )
    replace_file(folder / MANIFEST, json.dumps(asdict(manifest), indent=1))
    return manifest


def _write_goals(folder: Path, products: PreparedProducts) -> tuple[str, dict[str, dict[str, str]]]:
    """Prices, goals, splits and groups of products; digests of the products and the splits."""
    digest = hashlib.sha256()
    pricing = []
    collectors = {kind: GoalCollector(kind) for kind in KINDS}
    asked: list[tuple[str, str]] = []
    groups: dict[str, dict[str, list[int]]] = {"query": {}, "category": {}, "attributes": {}}
    for place, product in enumerate(products):
        digest.update(repr(product).encode("utf-8", "surrogatepass"))
        pricing.append(product.pricing)
        for collector in collectors.values():
            collector.add(place, product)
        asked += [(product.asin, text) for text in product.instructions()]
        groups["query"].setdefault(product.query, []).append(place)
        groups["category"].setdefault(product.category, []).append(place)
        for attribute in dict.fromkeys(product.attributes):
            groups["attributes"].setdefault(attribute, []).append(place)
    for name, members in groups.items():
        write_names(folder, name, members)
        save(folder, f"{name}.members.starts", np.cumsum([0, *map(len, members.values())]))
        save(
            folder,
            f"{name}.members",
            np.array([*itertools.chain.from_iterable(members.values())], dtype=np.int32),
        )
    leading = splits.twin_leaders(asked)
    places = {asin: place for place, asin in enumerate(Texts(folder, "asins")) if asin in leading}
    leaders = np.empty(len(products), dtype=np.int32)
    homes = np.empty(len(products), dtype=np.uint8)
    for place, asin in enumerate(Texts(folder, "asins")):
        leader = leading.get(asin, asin)
        homes[place] = SPLITS.index(splits.product_split(leader))
        leaders[place] = place if leader == asin else places[leader]
    save(folder, "leaders", leaders)
    save(folder, "homes", homes)
    split_digests: dict[str, dict[str, str]] = {}
    for kind, collector in collectors.items():
        for fidelity in FIDELITIES:
            rng = random.Random(SAMPLING_SEED)
            prices = np.array([sample_price(own, rng, fidelity=fidelity) for own in pricing])
            table = collector.table(prices, rng)
            save(folder, f"prices.{fidelity}", prices)
            save(folder, f"goals.{kind}.limits.{fidelity}", table.limits)
        for name in GOALS:
            save(folder, f"goals.{kind}.{name}", getattr(table, name))
        goals = WebshopGoals(products, table)
        own_homes = functools.partial(np.take, homes, table.firsts[table.instructions])
        split_digests[kind] = {
            protocol: splits.assign(goals, protocol, homes=own_homes).digest
            for protocol in ("product", "published", "none")
        }
    return digest.hexdigest(), split_digests


class _Progress:
    """How far the catalogue is read, and how long the rest takes."""

    def __init__(self, say: Callable[[str], None], size: int, offset: int) -> None:
        self._say = say
        self._size = max(1, size)
        self._first = offset
        self._began = time.monotonic()

    def show(self, num_records: int, offset: int) -> None:
        spent = time.monotonic() - self._began
        left = spent * (self._size - offset) / max(1, offset - self._first)
        share = offset / self._size
        self._say(f"{num_records:,} records, {share:.0%} of the catalogue, {duration(left)} left")
