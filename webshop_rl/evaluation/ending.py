"""What a result says of how training ended, in words; imports nothing that takes time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def ending_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """How training went where it did not go well, a line each.

    Args:
        result: with the keys of training's `Trainer.ending`, or without them.
    """
    if result.get("fallen"):
        yield f"ended far below its best: {result['fallen']}"
    if result.get("stopped"):
        yield str(result["stopped"])
    if restores := result.get("restores", 0):
        yield f"went on from its best checkpoint {restores} time{'s' if restores > 1 else ''}"
