"""Recorded episodes of a run's test, read from its folder or the tracker."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webshop_rl.evaluation.reasons import names
from webshop_rl.storage.folders import Root, RunFolder

from .tracker import read_artifact

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from .load import Run

Record = Mapping[str, Any]

_CLICK = re.compile(r"click\[(.*)\]", re.DOTALL)
_ASIN = re.compile(r"[0-9a-z]{10}")
# A list whose products a view named by their rank: which they were, its text does not say.
_FIRST_BY_RANK = "item 1"
_ANY_ASIN = re.compile(r"\bb0[0-9a-z]{8}\b", re.IGNORECASE)
_NO_OPTION = (
    "buy now",
    "back to search",
    "< prev",
    "next >",
    "description",
    "features",
    "reviews",
    "attributes",
)


def load_episodes(
    client: MlflowClient, run: Run, evaluation: str, *, root: Path | None = None
) -> list[Record]:
    """The episodes of one evaluation in the order in which they were played; none if neither place has them.

    Args:
        evaluation: "test", "untrained", "baseline/rule", ...
        root: folder whose runs/ may hold the run, and then holds its episodes; else the tracker is asked.
    """
    path = RunFolder(Path()).episodes(evaluation)
    own = None if root is None else Root(root).run(run.folder_name).episodes(evaluation)
    if own is not None and own.is_file():
        text: str | None = own.read_text(encoding="utf-8")
    else:
        text = read_artifact(client, run.record, path.as_posix())
    try:
        return [completed(json.loads(line)) for line in (text or "").splitlines()]
    except (ValueError, KeyError, TypeError):
        return []


def completed(record: Record) -> Record:
    """A record with what older ones lack: `bought`; and of a turn `kind`, `page_kind`, `asins`, `chosen`.

    It is read off pages and actions, as far as they show it: of the products that a page lists only the
    right one is found. Where a list named its products by rank, `lists_known` is False: that the right one
    is not found there does not say that it was missing.
    """
    if "bought" in record:
        return record
    turns = list(_completed_turns(record))
    last = turns[-1]["asins"] if turns and record["end"] == "bought" else ()
    unknown = any(turn["page_kind"] == "results" and _by_rank(turn["page"]) for turn in turns)
    return {**record, "turns": turns, "bought": last[0] if last else "", "lists_known": not unknown}


def _completed_turns(record: Record) -> Iterator[Record]:
    asin = record["asin"]
    opened, before, listed = "", "", False
    chosen: dict[str, str] = {}
    for turn in record["turns"]:
        found = _CLICK.fullmatch(turn["action"])
        target = found[1] if found else ""
        kind = "query" if turn["action"].startswith("search[") else "other"
        if "buy now" in turn["page"].lower() or before == "option":
            page_kind, asins = "item", [opened]
        else:
            page_kind = "results" if before in ("query", "back") else "search"
            named = not asin.isdigit() and names(asin, turn["page"])  # a page numbers its lines
            asins = [asin] if listed or named else []
        if target == "buy now":
            kind = "buy"
        elif target in ("< prev", "back to search"):
            kind = "back"
        elif page_kind == "item" and target and target not in _NO_OPTION:
            kind = "option"
        elif _ASIN.fullmatch(target) or target.isdigit():
            kind = "open"
            right = {"click", "shaping_open"} & turn["parts"].keys()
            right = right or (target == asin.lower() and not target.isdigit())
            # A number is a place in a list, and may be the name of another product.
            opened = asin if right else f"result {target}" if target.isdigit() else target.upper()
        extra = {"kind": kind, "page_kind": page_kind, "asins": asins, "chosen": dict(chosen)}
        yield {**turn, **extra}
        chosen = (
            chosen | {target: target} if kind == "option" else {} if kind in ("back", "query") else chosen
        )
        listed = bool({"search", "shaping_search"} & turn["parts"].keys())
        before = kind


def _by_rank(page: str) -> bool:
    return names(_FIRST_BY_RANK, page) and _ANY_ASIN.search(page) is None
