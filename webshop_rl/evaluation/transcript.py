"""Recorded episodes as a person would read them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

WIDTH: Final = 100
_SEPARATOR: Final = re.compile(r"\s*\[SEP\]\s*")
_THOUGHT: Final = re.compile(r"<think>(.*?)</think>(.*)", re.DOTALL)


def transcript(records: Sequence[Mapping[str, Any]], number: int) -> Iterator[str]:
    """The first so many episodes, line by line: page, thought and reply, action, reward, end."""
    for index, record in enumerate(records[:number], start=1):
        yield f"── episode {index} of {len(records)}: {record['goal']}, product {record['asin']} " + "─" * 20
        yield f"wanted: {record['instruction']}"
        for turn_number, turn in enumerate(record["turns"], start=1):
            yield ""
            yield f"turn {turn_number}"
            yield from _page(turn["page"])
            yield from _reply(turn)
        score = f"score {record['score']:.2f}, return {record['return']:.2f}, {len(record['turns'])} turns"
        yield ""
        yield f"{'SUCCESS' if record['success'] else 'end'}: {record['end']}, {score}"
        yield ""


def _page(page: str) -> Iterator[str]:
    for block in page.splitlines():
        for part in _SEPARATOR.split(block):
            yield from textwrap.wrap(part, WIDTH, initial_indent="  │ ", subsequent_indent="  │   ")


def _reply(turn: Mapping[str, Any]) -> Iterator[str]:
    reply, action = str(turn["reply"]).strip(), str(turn["action"])
    thought = _THOUGHT.search(reply)
    if thought is not None:
        yield from _named("thinks", thought[1].strip())
        reply = thought[2].strip()
    if reply != action:
        yield from _named("replies", reply or "(nothing)")
    note = "" if turn["valid"] else "   (not valid: nothing happens)"
    yield f"  → {action or 'no action'}{note}"
    if turn["reward"] or turn["parts"]:
        parts = ", ".join(f"{name} {value:.2f}" for name, value in turn["parts"].items())
        yield f"    reward {turn['reward']:+.2f}" + (f" ({parts})" if parts else "")


def _named(name: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(f"{name}: {text}", WIDTH, initial_indent="  ", subsequent_indent="    ")
