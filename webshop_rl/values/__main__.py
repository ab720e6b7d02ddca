"""`webshop-rl values show`: the reference returns that V* is estimated from, by shop."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table
from rich.text import Text

from webshop_rl.cli import command, invocation
from webshop_rl.config.hydra_adapter import CONF, composition_errors
from webshop_rl.config.load import register
from webshop_rl.errors import UserError
from webshop_rl.screen import table_width
from webshop_rl.storage.folders import Root
from webshop_rl.values.estimator import ESTIMATORS
from webshop_rl.values.store import KeyedReturns, ReturnStore
from webshop_rl.values.summary import Summary, summarise

_EPILOG = """the first table: a row for each shop (or stage of a curriculum), reference and way of sampling
  V*           mean over goals, and standard deviation over goals in brackets
  spread       standard deviation of a goal's returns, mean over goals
  all fail     goals of which no sample succeeds; all succeed: of which every one does
  all equal    goals whose returns are all equal: what vstar.min_spread above 0 leaves out of training
the second table: what N samples a goal would give (vstar.num_samples, vstar.adaptive), by drawing N of those
stored with replacement: bias and noise of V* against the estimate from all of them. That estimate is itself
biased low where samples are few, so the true bias is larger.
"""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code. Raises: UserError if there are no reference returns."""
    options = _parse(arguments)
    root = Root(Path(options.root).expanduser().resolve())
    rows = [_row(*each, options) for each in _groups(ReturnStore(root.vstar))]
    if not rows:
        raise UserError(
            "contains no reference returns", where=str(root.vstar), remedy="--root FOLDER of the runs"
        )
    if options.json:
        print(json.dumps([{**about, **asdict(summary)} for about, summary in rows], indent=1))
        return 0
    console = Console(markup=False, highlight=False, width=table_width())
    estimator = (
        f"{options.estimator}, beta {options.beta:g}" if options.estimator == "soft" else options.estimator
    )
    console.print(_overview(rows, title=f"reference returns under {root.path}; V* = {estimator}"))
    console.print(_few_samples(rows))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    register()
    with composition_errors(), initialize_config_dir(str(CONF), version_base="1.3"):
        defaults = compose("config").vstar
    parser = argparse.ArgumentParser(
        prog=f"{invocation()} values",
        description="The reference returns that V* is estimated from, by shop.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["show"], help="print a summary")
    parser.add_argument("--root", default="runs", metavar="DIR", help="where the runs are (runs)")
    parser.add_argument("--estimator", default=defaults.estimator, choices=ESTIMATORS, help="of V*")
    parser.add_argument("--beta", type=float, default=defaults.beta, help="of the soft maximum")
    parser.add_argument("--json", action="store_true", help="all numbers, for a program")
    options = parser.parse_args(arguments)
    if not options.beta >= 0:
        raise UserError(f"{options.beta:g} is out of range", where="--beta", remedy="0 or more, inf")
    return options


def _groups(store: ReturnStore) -> Iterator[tuple[KeyedReturns, str, list[str]]]:
    """Returns under a key, what their shop is called, and goals: all, or those of a curriculum's stage."""
    for returns in store.all():
        shop = str(returns.names.get("shop", "")) or f"shop {returns.key.get('shop', '?')[:8]}"
        stages = returns.names.get("stages") or []
        for stage in stages:
            if own := [goal for goal in returns.goals if goal.startswith(f"{stage}/")]:
                yield returns, f"{shop}: {stage}", own
        if not stages:
            yield returns, shop, returns.goals


def _row(
    returns: KeyedReturns, shop: str, goals: list[str], options: argparse.Namespace
) -> tuple[dict[str, Any], Summary]:
    key = returns.key
    about = {
        "shop": shop,
        "model": str(returns.names.get("model", "")) or key.get("model", "?")[:8],
        "sampling": f"T {key.get('temperature', '?')}, seed {key.get('seed', '?')}",
        "code": key.get("code", "?"),
        "key": returns.folder.name,
    }
    return about, summarise(returns, goals, estimator=options.estimator, beta=options.beta)


def _overview(rows: Sequence[tuple[dict[str, Any], Summary]], *, title: str) -> Table:
    columns = ("shop", "reference", "sampling", "goals", "samples", "return", "success", "V*", "spread")
    table = _table(title, (*columns, "all fail", "all succeed", "all equal"), text=3)
    for about, s in rows:
        each = f"{s.fewest}" if s.fewest == s.most else f"{s.fewest}-{s.most}"
        numbers = (f"{s.return_mean:.3f}", f"{s.success:.3f}", f"{s.vstar_mean:.3f} ({s.vstar_std:.3f})")
        shares = (f"{s.all_fail:.2f}", f"{s.all_succeed:.2f}", f"{s.all_equal:.2f}")
        words = (about["shop"], about["model"], about["sampling"])
        cells = (*words, str(s.num_goals), each, *numbers, f"{s.spread:.3f}", *shares)
        table.add_row(*map(Text, cells))
    return table


def _few_samples(rows: Sequence[tuple[dict[str, Any], Summary]]) -> Table:
    columns = ("shop", "reference", "sampling", "N", "bias of V*", "noise of V*", "all fail", "all equal")
    table = _table("with N samples a goal", columns, text=3)
    for about, summary in rows:
        for few in summary.few:
            numbers = (f"{few.bias:+.3f}", f"{few.std:.3f}", f"{few.all_fail:.2f}", f"{few.all_equal:.2f}")
            words = (about["shop"], about["model"], about["sampling"])
            table.add_row(*map(Text, (*words, str(few.num_samples), *numbers)))
    return table


def _table(title: str, columns: Sequence[str], *, text: int) -> Table:
    table = Table(title=Text(title), title_justify="left", box=None)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < text else "right")
    return table


if __name__ == "__main__":
    sys.exit(main())
