"""Check a folder of data files: what is missing and where to get it, and whether it is the real shop.

    python -m webshop_rl.envs.webshop.check DATA_DIR [--originals]

`make webshop DATA_DIR=FOLDER` runs it, and in between makes title_nouns.json where that is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webshop_rl.cli import command
from webshop_rl.envs.types import SPLITS
from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.errors import EXIT_BAD_INPUT, UserError

CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Original:
    """A file of the original repository's setup script.

    Attributes:
        size: bytes.
        sha256: hexadecimal.
        drive_id: Google Drive's id of the file.
    """

    name: str
    size: int
    sha256: str
    drive_id: str

    def how_to_get(self, folder: Path) -> str:
        """The command that downloads the file into a folder."""
        address = f"https://drive.google.com/uc?id={self.drive_id}"
        return f"pip install gdown; gdown '{address}' -O {folder / self.name}"


# Ids from setup.sh of github.com/princeton-nlp/WebShop; a catalogue is one of the two sizes.
SMALL: Final = (
    Original(
        "items_shuffle_1000.json",
        4_467_013,
        "30a4765c3a327af72d9a9a95a6b2486d516f0fa1d3ecd83681901ce82a21b269",
        "1EgHdxQ_YxqIQlvvq5iKlCrkEKR6-j0Ib",
    ),
    Original(
        "items_ins_v2_1000.json",
        147_099,
        "f88a36314a397b53b3d9c3fa5878e5f7b26d35019a51ec83fbedeca61a948f6f",
        "1IduG0xl544V_A_jv3tHXC0kyFi7PnyBu",
    ),
)
FULL: Final = (
    Original(
        "items_shuffle.json",
        5_479_720_229,
        "2ef591d65df3af89e972ab72468eb82cbf124d876552d9f3678667edd620a6c8",
        "1A2whVgOO0euk5O13n2iYDM0bQRkkRduB",
    ),
    Original(
        "items_ins_v2.json",
        186_295_270,
        "1d36af476bdb8f82a5da62bd8acdabe54cd8de2fa84010d37da5c4890feb447e",
        "1s2j6NgHljiZzQNL3veZaAiyW_qDEgBNi",
    ),
)
HUMAN: Final = Original(
    "items_human_ins.json",
    5_137_548,
    "cf78667548a71786e1d9049c24b802e48e1084ad4bb021cae56ce1f6d96954a3",
    "14Kb5SPBk_jfdLZ_CDBNitW98QLDlKR5O",
)

# What the shop reads of the original's 1,000 products, and their nouns: files that differ only in fields
# that nothing reads have the same digests.
SMALL_PRODUCTS_DIGEST: Final = "78e634a6d6ec33d7760b82f91b4ed529bee4bd8064edab9cbd0f1e64c962df20"
SMALL_NOUNS_DIGEST: Final = "b346bc9d61ae7b9fb33dced1ecaacb53c7ee8d70a80da927a3f46dc9bcb1599e"


def missing_originals(folder: Path) -> list[UserError]:
    """The original's files that the folder lacks: of the two sizes of a catalogue, one must be there."""
    problems = []
    for sizes in (*zip(SMALL, FULL, strict=True), (HUMAN,)):
        present = [original for original in sizes if (folder / original.name).is_file()]
        if not present:
            problems.append(_problem("no such file", folder, sizes[0]))
        problems += [
            _problem("not JSON, perhaps a page that Google Drive sent instead", folder, original)
            for original in present
            if not _starts_as_json(folder / original.name)
        ]
    return problems


def describe_originals(folder: Path) -> list[tuple[str, bool]]:
    """A line on each of the original's files that is there, and whether it is the original to the byte."""
    described = []
    for original in (*SMALL, *FULL, HUMAN):
        path = folder / original.name
        if not path.is_file():
            continue
        size = path.stat().st_size
        same = size == original.size and _sha256(path) == original.sha256
        note = "the original's" if same else f"differs from the original's {original.size:,}"
        described.append((f"{original.name}: {size:,} bytes, {note}", same))
    return described


def products_digest(products: Sequence[Product]) -> str:
    """Hex digest of all that the shop reads of products, but for the nouns of their titles."""
    bare = [repr(dataclasses.replace(product, nouns=())) for product in products]
    return hashlib.sha256("\n".join(bare).encode()).hexdigest()


def nouns_digest(products: Sequence[Product]) -> str:
    """Hex digest of the nouns of the products' titles."""
    nouns = json.dumps({product.asin: product.nouns for product in products}, sort_keys=True)
    return hashlib.sha256(nouns.encode()).hexdigest()


def check(folder: Path, *, originals_only: bool) -> list[UserError]:
    """Print what is in the folder; return what is wrong with it, a line each.

    Args:
        originals_only: leave out title_nouns.json, and so the shop that is built with it.
    Raises: UserError if a file is broken.
    """
    problems = missing_originals(folder)
    if problems or originals_only:
        return problems
    described = describe_originals(folder)
    for line, _ in described:
        print(line)
    is_small = (folder / SMALL[0].name).is_file()
    shop = WebShop(data_dir=str(folder), num_products=files.SMALL_CATALOGUE)
    print(f"{files.NOUN_FILES[0]}: has the nouns of these {len(shop.products):,} titles")
    counts = ", ".join(f"{split} {len(shop.goals(split)):,}" for split in SPLITS)
    print(f"{len(shop.products):,} products, {len(shop.goals('all')):,} synthetic goals by product: {counts}")
    exact = all(same for _, same in described)
    if not exact and not (is_small and products_digest(shop.products) == SMALL_PRODUCTS_DIGEST):
        problems.append(
            UserError(
                "other products than the original's",
                where=str(folder),
                remedy="download again what is listed as different: docs/webshop.md",
            )
        )
    elif is_small and nouns_digest(shop.products) != SMALL_NOUNS_DIGEST:
        problems.append(
            UserError(
                "other nouns than those behind the published scores: another spaCy model made them",
                where=str(folder / files.NOUN_FILES[0]),
                remedy="delete the file and make it again: make webshop DATA_DIR=FOLDER",
            )
        )
    elif is_small:
        print("all that the shop reads of the products is right: this is the shop of the published numbers")
    return problems


def _problem(what: str, folder: Path, original: Original) -> UserError:
    return UserError(what, where=str(folder / original.name), remedy=original.how_to_get(folder))


def _starts_as_json(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(1) in (b"[", b"{")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m webshop_rl.envs.webshop.check", description=__doc__)
    parser.add_argument("data_dir", help="folder of the original data files")
    parser.add_argument(
        "--originals", action="store_true", help="only whether the original's files are all there"
    )
    options = parser.parse_args(arguments)
    try:
        problems = check(files.data_folder(options.data_dir), originals_only=options.originals)
    except UserError as error:
        problems = [error]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return EXIT_BAD_INPUT if problems else 0


if __name__ == "__main__":
    sys.exit(main())
