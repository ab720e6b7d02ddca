"""Spans of time as people read them, and how long is left."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """`45s`, `3m05s`, `2h07m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def time_left_s(spent_s: float, at: int, first: int, end: int) -> float | None:
    """Seconds from `at` to `end` at the pace since `first`; None where nothing was done yet."""
    done = at - first
    return spent_s / done * (end - at) if done > 0 else None
