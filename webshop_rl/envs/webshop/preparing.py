"""Writes a prepared catalogue: reads the original files once, goes on where it was interrupted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.columns import Texts, index_names, save
from webshop_rl.envs.webshop.inverting import merge
from webshop_rl.envs.webshop.prepared import (
    MANIFEST,
    VERSION,
    Manifest,
    PreparedProducts,
    sha256_of,
)
from webshop_rl.envs.webshop.prepared_goals import write_goals
from webshop_rl.envs.webshop.reading import RUNS, STATE, Reading, Request, Sources, State
from webshop_rl.envs.webshop.search import ranks_of
from webshop_rl.envs.webshop.title_nouns import MODEL, load_tagger
from webshop_rl.errors import UserError
from webshop_rl.storage.files import read_json, replace_file, sync


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
    found = read_json(partial / STATE)
    if found is None or found["key"] != json.loads(json.dumps(key)):
        shutil.rmtree(partial, ignore_errors=True)
        (partial / RUNS).mkdir(parents=True)
        state = State(key, left_out={})
    else:
        state = State(**found)
        say(f"goes on after {state.num_records:,} records")
    if not state.whole:
        Reading(request, sources, partial, state, say).run()
    manifest = _finish(request, sources, partial, state, say)
    shutil.rmtree(partial / RUNS)
    (partial / STATE).unlink()
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


def _finish(
    request: Request, sources: Sources, folder: Path, state: State, say: Callable[[str], None]
) -> Manifest:
    """The columns that need all products, and the manifest."""
    num_products = len(Texts(folder, "asins"))
    if not num_products:
        raise UserError("contains no usable product", where=str(sources.catalogue), remedy=files.GET_DATA)
    say("merges the index")
    merge(folder / RUNS, state.runs, folder, len(Texts(folder, "tokens")))
    for name in ("asins", "tokens"):
        index_names(folder, name)
    save(folder, "ranks", ranks_of(list(Texts(folder, "asins"))))
    products_digest, split_digests = write_goals(folder, PreparedProducts(folder, num_products), say)
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
    written.pop(STATE)
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
