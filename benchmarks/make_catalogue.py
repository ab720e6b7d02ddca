"""Write a catalogue of any size with the real one's field statistics, as original files.

    python -m benchmarks.make_catalogue OUT --data-dir DATA_DIR --products 100000

Each product is a real one of the 1,000 whose texts are mixed: some words come from the same field of other
products, as often as they stand there, and some are new, so the vocabulary grows with the catalogue as that
of a language does. Prices, options, categories, attributes and who has an instruction are the real one's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from webshop_rl.cli import command
from webshop_rl.envs.webshop import files

MIXED = 0.35  # of the words of a text, from other products
NEW = 0.015  # new to the catalogue
INSTRUCTION_MIXED = 0.15
NEW_PER_PRODUCT = 0.6  # size of the pool of new words
FIELDS = ("name", "full_description")
CODE = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
STEP = 48_271_003_777  # prime to 36, so that codes differ


def code(number: int) -> str:
    """An ASIN: ten characters, no two alike."""
    left = number * STEP % 36**9
    digits = []
    for _ in range(9):
        left, digit = divmod(left, 36)
        digits.append(CODE[digit])
    return "B" + "".join(digits)


class Mixer:
    """Records in the manner of real ones.

    Args:
        folder: of the original 1,000 products.
        number: of products to be made.
        seed: of everything that is drawn.
    """

    def __init__(self, folder: Path, number: int, seed: int) -> None:
        self._rng = random.Random(f"catalogue {seed}")
        self._human_rng = random.Random(f"human instructions {seed}")
        find = {
            names: files.find(folder, names, num_products=files.SMALL_CATALOGUE)
            for names in (files.PRODUCT_FILES, files.INSTRUCTION_FILES, files.HUMAN_FILES, files.NOUN_FILES)
        }
        self._records = [record for _, record in files.read_records(find[files.PRODUCT_FILES])]
        self._annotations = files.read_object(find[files.INSTRUCTION_FILES])
        self._human = files.read_object(find[files.HUMAN_FILES])
        nouns = files.read_object(find[files.NOUN_FILES])
        self._nouns = {noun for own in nouns.values() for noun in own}
        self._pools = {field: _words(record[field] for record in self._records) for field in FIELDS}
        self._pools["small_description"] = _words(
            bullet for record in self._records for bullet in record["small_description"]
        )
        wishes = (entry.get("instruction") or "" for entry in self._annotations.values())
        self._pools["instruction"] = _words(wishes)
        self._number_new = max(1, int(number * NEW_PER_PRODUCT))

    def products(self, number: int) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[Any], list[str]]]:
        """(record, annotation, human instructions, nouns of the title) of each product."""
        for place in range(number):
            template = self._rng.choice(self._records)
            record = template | {"asin": code(place)}
            for field in FIELDS:
                record[field] = self._mixed(record[field], field)
            bullets = record["small_description"]
            record["small_description"] = [self._mixed(bullet, "small_description") for bullet in bullets]
            annotation = dict(self._annotations.get(template["asin"], {}))
            if annotation.get("instruction"):
                annotation["instruction"] = self._mixed(
                    annotation["instruction"], "instruction", INSTRUCTION_MIXED
                )
            title = [word.strip(",.()").lower() for word in record["name"].split()]
            human = [self._asked(own) for own in self._human.get(template["asin"], [])]
            yield record, annotation, human, [word for word in title if word in self._nouns]

    def _asked(self, human: dict[str, Any]) -> dict[str, Any]:
        """A human instruction in words of its own; products that are asked for in the same share a split."""
        text = self._mixed(human["instruction"], "instruction", INSTRUCTION_MIXED, self._human_rng)
        return human | {"instruction": text}

    def _mixed(self, text: str, field: str, share: float = MIXED, rng: random.Random | None = None) -> str:
        draw = (rng or self._rng).random
        pool = self._pools[field]
        words = text.split(" ")
        for place in range(len(words)):
            chance = draw()
            if chance < share:
                words[place] = pool[int(draw() * len(pool))]
            elif chance > 1 - NEW:
                # Few of the new words are in many products, most in one or two.
                words[place] = f"zx{int(self._number_new ** draw()):x}"
        return " ".join(words)


def write(folder: Path, out: Path, number: int, seed: int) -> None:
    """Write the four files."""
    out.mkdir(parents=True, exist_ok=True)
    names = (files.PRODUCT_FILES, files.INSTRUCTION_FILES, files.HUMAN_FILES, files.NOUN_FILES)
    streams = [(out / name[0]).open("w", encoding="utf-8") for name in names]
    for stream, start in zip(streams, "[{{{", strict=True):
        stream.write(start)
    begun = [False] * len(streams)
    for record, annotation, human, nouns in Mixer(folder, number, seed).products(number):
        key = json.dumps(record["asin"])
        parts = (json.dumps(record), *(f"{key}: {json.dumps(v)}" if v else "" for v in (annotation, human)))
        for place, part in enumerate((*parts, f"{key}: {json.dumps(nouns)}")):
            if part:
                streams[place].write(f"{',' if begun[place] else ''}\n{part}")
                begun[place] = True
    for stream, end in zip(streams, "]}}}", strict=True):
        stream.write(end)
        stream.close()


def _words(texts: Iterator[str]) -> Sequence[str]:
    return [word for text in texts for word in text.split()]


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--data-dir", default=os.environ.get("WEBSHOP_DATA_DIR"), help="the real 1,000")
    parser.add_argument("--products", type=int, default=10_000, help="how many (default: 10,000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    write(files.data_folder(options.data_dir), options.out, options.products, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
