"""The command: find what is meant, compose, play, show."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from webshop_rl.cli import command, invocation
from webshop_rl.screen import table_width

_DESCRIPTION = """Evaluate a policy alone, beside the scripted policies on the same episodes.

The first word is one of
  RUN         a trained run: its signature (the first letters do) under root=, or its folder; its best
              checkpoint by validation
  CHECKPOINT  a folder <run>/checkpoints/update_N
  MODEL       a name of conf/model, zero-shot; or a local folder of a Hugging Face model
  POLICY      random, first, rule or backtrack: a scripted policy
"""
_EPILOG = """keys (key=value, after the first word):
  split=test           train | val | test | all
  episodes=100         how many; all: one a goal
  goals=0:400          only these of the split's goals, one episode each unless episodes= says otherwise
  temperature=0        of the policy; 0 is greedy
  env=... env.KEY=...  another shop; for a run its own is the default
  root=runs            where the runs are, and where <root>/evaluations/ is written
  and every other key of the configuration: rollout.decoding=free, hardware=gpu, tracking=journal,
  model.path=..., evaluation.seed=...; rerun=true plays again what is on record.

examples:
  webshop-rl evaluate 4f8e23abc04d --watch 3
  webshop-rl evaluate runs/runs/4f8e23abc04d split=val episodes=all
  webshop-rl evaluate smollm2_135m env=shop5 rollout.decoding=free episodes=5
  webshop-rl evaluate rule env=webshop env.data_dir=FOLDER env.split=published goals=0:400
"""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog=f"{invocation()} evaluate",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="RUN|CHECKPOINT|MODEL|POLICY", help="what to evaluate")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="see below")
    parser.add_argument(
        "--watch",
        type=_whole_number,
        default=0,
        metavar="N",
        help="print N episodes as a person would read them",
    )
    parser.add_argument("--root", metavar="FOLDER", help="as root=FOLDER")
    options = parser.parse_intermixed_args(arguments)
    words = [*options.overrides, *([f"root={options.root}"] if options.root else [])]
    _evaluate(options.target, words, options.watch)
    return 0


def _evaluate(word: str, words: Sequence[str], watch: int) -> None:
    # Imported late, torch last: help and bad arguments are answered at once.
    from webshop_rl.evaluate.configuration import configure, root_of, take_request
    from webshop_rl.evaluate.target import find_target
    from webshop_rl.tracking.config import Destination
    from webshop_rl.tracking.prepare import check_tracker

    request, overrides = take_request(words)
    target = find_target(word, root_of(overrides))
    configured = configure(target, request, overrides)
    cfg = configured.cfg
    check_tracker(Destination.of(cfg))

    from rich.console import Console

    from webshop_rl.evaluate.play import evaluate
    from webshop_rl.evaluate.progress import EpisodeProgress
    from webshop_rl.evaluation.tables import remarks, result_table, stage_lines
    from webshop_rl.evaluation.transcript import transcript

    console = Console(soft_wrap=True, width=table_width())
    with EpisodeProgress(console) as progress:
        evaluated = evaluate(target, request, configured, progress.report)
    for line in transcript(evaluated.records, watch):
        console.print(line, highlight=False, markup=False)
    console.print(result_table(evaluated.result, width=console.width), soft_wrap=False)
    for line in (*stage_lines(evaluated.result), *remarks(evaluated.result)):
        console.print(line, highlight=False, markup=False)
    note = "on record already, rerun=true plays it again" if evaluated.again else "on record"
    console.print(f"{note}: {evaluated.folder}", highlight=False, markup=False)


def _whole_number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main())
