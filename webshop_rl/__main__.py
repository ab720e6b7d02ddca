"""The one command, `webshop-rl train|sweep|status|...`, or `python -m webshop_rl ...`; COMMANDS lists all."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

from webshop_rl.cli import command
from webshop_rl.errors import UserError

# What it does; the module with its `main`, which answers --help.
COMMANDS = {
    "train": ("train one run: [group=option] [key=value]", "webshop_rl.train"),
    "sweep": ("train many: key=value,value or a study; here, or Slurm jobs", "webshop_rl.train"),
    "status": ("what is running; cancel, retry, logs", "webshop_rl.launching.status"),
    "evaluate": ("evaluate a run, a model or a scripted policy; --watch N", "webshop_rl.evaluate.__main__"),
    "export": ("a trained run as a Hugging Face folder: RUN --out FOLDER", "webshop_rl.export.__main__"),
    "prepare": (
        "the real WebShop's catalogue, to open at once: --data-dir FOLDER",
        "webshop_rl.envs.prepare",
    ),
    "play": ("any shop by hand: env=stage2", "webshop_rl.envs.play"),
    "values": ("the reference returns that V* is estimated from: show", "webshop_rl.values.__main__"),
    "report": ("compare a sweep's runs: verdict, tables, curves", "analysis.report"),
    "compare": ("two runs or arms: configuration, metrics, goals that flipped", "analysis.compare"),
    "ui": ("every run in the browser: an MLflow server", "webshop_rl.tracking.serve"),
}
_HELP = ("-h", "--help")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Hand the words that follow to the command that the first one names; return its exit code.

    Raises: UserError if there is no such command.
    """
    name, *words = [*(sys.argv[1:] if arguments is None else arguments)] or ["--help"]
    if name in _HELP:
        print(_help())
        return 0
    if name not in COMMANDS:
        raise UserError(f"there is no {name}", where="webshop-rl", remedy=f"there are {', '.join(COMMANDS)}")
    # Hydra reads its words from here, and nowhere else.
    sys.argv = [f"webshop-rl {name}", *(["-m"] if name == "sweep" else []), *words]
    code: int = _module(COMMANDS[name][1]).main()
    return code


def _module(name: str) -> ModuleType:
    """A module; `analysis` lies beside the package in a checkout and within it in a wheel, see setup.py."""
    within = f"webshop_rl.{name.partition('.')[0]}"
    if not name.startswith("webshop_rl.") and importlib.util.find_spec(within):
        name = f"webshop_rl.{name}"
    return importlib.import_module(name)


def _help() -> str:
    lines = [f"  webshop-rl {name:9} {what}" for name, (what, _) in COMMANDS.items()]
    return "\n".join(
        [
            "webshop-rl: train, sweep and compare LLM agents on WebShop",
            "",
            *lines,
            "",
            "Each answers --help. Runs are kept in ./runs (root=FOLDER, --root FOLDER).",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
