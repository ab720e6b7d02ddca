"""Compare the reproduction with recorded rows of the original: one line a kind, exit 0 if all match."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from webshop_rl.cli import command
from webshop_rl.envs.parity.answers import ANSWERS, compare
from webshop_rl.envs.parity.corpus import read_corpus
from webshop_rl.envs.parity.reference import Reference

EXIT_DIFFERENT = 1


def report(corpus_dir: Path, data_dir: str | None) -> bool:
    """Print how many rows of each kind match, and the first that does not; return whether all do.

    Raises: UserError if corpus or data are missing or broken.
    """
    corpus = read_corpus(corpus_dir, tuple(ANSWERS))
    reference = Reference(data_dir)
    all_match = True
    for kind, rows in corpus.items():
        differences = [(where, compare(kind, content, reference)) for where, content in rows]
        found = [f"{where}: {difference}" for where, difference in differences if difference]
        print(f"{kind} {len(rows) - len(found)}/{len(rows)}")
        if found:
            print(f"  first difference: {found[0]}")
            all_match = False
    return all_match


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m webshop_rl.envs.parity", description=__doc__)
    parser.add_argument("corpus_dir", type=Path, help="folder of the recorded rows")
    parser.add_argument(
        "--data-dir",
        default=os.environ.get("WEBSHOP_DATA_DIR"),
        help="folder of the original data files (default: the variable WEBSHOP_DATA_DIR)",
    )
    options = parser.parse_args(arguments)
    return 0 if report(options.corpus_dir, options.data_dir) else EXIT_DIFFERENT


if __name__ == "__main__":
    sys.exit(main())
