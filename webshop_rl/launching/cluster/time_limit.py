"""Time limits in Slurm's notation."""

from __future__ import annotations

import re

from webshop_rl.errors import UserError


def minutes(limit: str) -> int:
    """A time limit in Slurm's notation (MIN, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS), rounded up.

    Raises: UserError if it is none.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit.strip())
    if found is None:
        raise UserError(
            f"{limit!r} is no time limit", where="hardware.slurm.time", remedy="e.g. 04:00:00 or 2-00:00:00"
        )
    days, *rest = found.groups()
    numbers = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, mins, secs = [*numbers, 0, 0][:3]
        total = ((int(days) * 24 + hours) * 60 + mins) * 60 + secs
    elif len(numbers) == 3:
        total = (numbers[0] * 60 + numbers[1]) * 60 + numbers[2]
    else:
        total = numbers[0] * 60 + (numbers[1] if len(numbers) == 2 else 0)
    return max(1, -(-total // 60))
