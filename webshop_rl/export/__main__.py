"""The command: find the run, see that it can be exported, write the folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from webshop_rl.cli import command, invocation

_DESCRIPTION = """Write a trained run as a folder that Hugging Face's libraries and servers load: weights,
tokenizer, chat template and a model card with the split's digest, results and intervals.

The first word is one of
  RUN         a trained run: its signature (the first letters do) under root=, or its folder; its best
              checkpoint by validation
  CHECKPOINT  a folder <run>/checkpoints/update_N
"""
_EPILOG = """keys (key=value): root=runs, and where the run's data and base model are now, if they have moved:
  env.data_dir=FOLDER, model.path=FOLDER

LoRA adapters are merged into their model unless --adapter is given. Runs with model.pointer or model.smear
are refused: no class of Hugging Face computes these parts.

examples:
  webshop-rl export 4f8e23abc04d --out shopper
  webshop-rl export runs/runs/4f8e23abc04d/checkpoints/update_000040 --out shopper_40 --adapter
"""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog=f"{invocation()} export",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="RUN|CHECKPOINT", help="what to export")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="see below")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new, or empty")
    parser.add_argument("--root", metavar="FOLDER", help="as root=FOLDER")
    parser.add_argument("--adapter", action="store_true", help="the LoRA adapters alone, not merged")
    options = parser.parse_intermixed_args(arguments)
    words = [*options.overrides, *([f"root={options.root}"] if options.root else [])]
    _export(options.target, words, options.out.expanduser(), adapter=options.adapter)
    return 0


def _export(word: str, words: Sequence[str], out: Path, *, adapter: bool) -> None:
    # Imported late, torch last: help and bad arguments are answered at once.
    from webshop_rl.evaluate.configuration import root_of
    from webshop_rl.evaluate.target import find_target
    from webshop_rl.export.request import configured_for, see_room

    see_room(out)
    target = find_target(word, root_of(words))
    configured = configured_for(target, words, adapter=adapter)

    from webshop_rl.export.folder import export

    exported = export(target, configured, out, adapter=adapter)
    print(f"update {exported.update} of {target.name} is in {out}")
    if exported.result is None:
        print("the run is not finished: this is its best checkpoint so far, of which the card has no test")
    print(f'AutoModelForCausalLM.from_pretrained("{out}") loads it; README.md says what it is')


if __name__ == "__main__":
    sys.exit(main())
