"""Compare the reproduction with recorded rows of the original: one line a kind, exit 0 if all match."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from webshop_rl.envs.parity import catalogue_rows, rewards, searches, trajectories
from webshop_rl.envs.parity.corpus import KINDS, Files, read_corpus
from webshop_rl.envs.parity.reference import Reference
from webshop_rl.envs.parity.rows import Checker, Verdict
from webshop_rl.errors import EXIT_BAD_INPUT, UserError

EXIT_DIFFERENT = 1


class Checkers(dict[str, Checker]):
    """The checker of every kind, for a corpus.

    Args:
        files: the corpus, for what its kinds tell of one another.
        data_dir: folder of the original data files.
        reference: the shops, if they are built already.
    """

    def __init__(self, files: Files, data_dir: str | None, reference: Reference | None = None) -> None:
        self.reference = reference or Reference(data_dir)
        super().__init__(
            goals=catalogue_rows.goals_checker(self.reference),
            prices=catalogue_rows.prices_checker(self.reference),
            rewards=rewards.rewards_checker(self.reference),
            searches=searches.searches_checker(self.reference),
            analysis=catalogue_rows.analysis_checker(self.reference),
            trajectories=trajectories.text_checker(self.reference),
            trajectories_rich=trajectories.rich_checker(
                self.reference, files.get("trajectories", []), files.get("trajectories_rich", [])
            ),
        )


def compare(corpus_dir: Path, data_dir: str | None) -> dict[str, list[Verdict]]:
    """Verdicts on every row of every file, by kind.

    Raises: UserError if corpus or data are missing or broken.
    """
    files = read_corpus(corpus_dir)
    checkers = Checkers(files, data_dir)
    _ = checkers.reference.synthetic  # so that missing data are said to be missing whatever the rows hold
    return {kind: checkers[kind].check(files[kind]) for kind in KINDS if kind in files}


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
    try:
        results = compare(options.corpus_dir, options.data_dir)
    except UserError as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_INPUT
    for kind, verdicts in results.items():
        different = [verdict for verdict in verdicts if verdict.difference is not None]
        print(f"{kind} {len(verdicts) - len(different)}/{len(verdicts)}")
        if different:
            print(f"  first difference: {different[0].row}: {different[0].difference}")
    return EXIT_DIFFERENT if any(v.difference for verdicts in results.values() for v in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
