"""Ranges of configuration values, declared beside the field they bound.

Imports nothing but the standard library, so that every room's schema may use it.
"""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Any

RANGE_KEY = "webshop_rl_range"
CHOICE_KEY = "webshop_rl_choice"


def ranged(
    default: Any = MISSING,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """A dataclass field whose value must lie in the given range (None values are let through)."""
    bounds = {k: v for k, v in {"ge": ge, "gt": gt, "le": le, "lt": lt}.items() if v is not None}
    return _field(default, {RANGE_KEY: bounds})


def choice(*options: str, default: Any = MISSING) -> Any:
    """A dataclass field whose value must be one of the options."""
    return _field(default, {CHOICE_KEY: options})


def _field(default: Any, metadata: dict[str, Any]) -> Any:
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    if default is MISSING:
        # OmegaConf's own mark for a value that a YAML file must supply.
        return field(default="???", metadata=metadata)
    return field(default=default, metadata=metadata)


_SIGN = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def violation(value: Any, metadata: Any) -> str | None:
    """One phrase saying how value breaks the field's range, or None if it does not."""
    if value is None:
        return None
    options = metadata.get(CHOICE_KEY)
    if options is not None and value not in options:
        return f"must be one of {', '.join(options)}"
    bounds = metadata.get(RANGE_KEY)
    if not bounds:
        return None
    held = {
        "ge": lambda bound: value >= bound,
        "gt": lambda bound: value > bound,
        "le": lambda bound: value <= bound,
        "lt": lambda bound: value < bound,
    }
    # A NaN compares false with everything and so breaks every bound.
    if all(held[name](bound) for name, bound in bounds.items()):
        return None
    return "must be " + " and ".join(f"{_SIGN[name]} {bound:g}" for name, bound in bounds.items())
