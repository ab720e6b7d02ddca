"""Fields of a schema with the facts of their keys: what a key means stands here, and nowhere else.

Imports nothing but the standard library, so that every room's schema may use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, replace
from typing import Any, Final, TypedDict, Unpack

FACTS: Final = "webshop_rl_facts"
# OmegaConf's own mark for a value that a YAML file must supply.
UNSET: Final = "???"


@dataclass(frozen=True)
class Facts:
    """What holds for a key. The first three are those of its section unless its field says otherwise.

    Attributes:
        affects_result: whether it can change the numbers of a run, and so is part of its signature.
        one_a_sweep: why runs of one sweep may not differ in it; "" if they may.
        decides: whose episodes it decides: "scripted" policies', the "reference" policy's for V*, those
            that a policy is "evaluated" on.
        seed: runs that differ in nothing but seeds are repetitions of each other.
        place: it names a place on disk, of which the content counts: a "folder" that must exist, or a "path"
            that may also be something else (the name of a model on a hub).
        bounds: pairs of "ge", "gt", "le" or "lt" and a number that the value must compare to so.
        options: the values it may have; empty if they are not listed.
    """

    affects_result: bool = True
    one_a_sweep: str = ""
    decides: tuple[str, ...] = ()
    seed: bool = False
    place: str = ""
    bounds: tuple[tuple[str, float], ...] = ()
    options: tuple[str, ...] = ()

    def of(self, own: Mapping[str, Any]) -> Facts:
        """The facts of a key in a section with these facts, by what its own field says."""
        return replace(self, **{"seed": False, "place": "", "bounds": (), "options": (), **own})


class Given(TypedDict, total=False):
    """Facts that a field may state; see Facts."""

    affects_result: bool
    one_a_sweep: str
    decides: tuple[str, ...]
    seed: bool
    place: str


def ranged(
    default: Any = MISSING,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    **facts: Unpack[Given],
) -> Any:
    """A field whose value must lie in the given range (None values are let through).

    Args:
        default: for the few values that stand in no file of conf/.
    """
    given = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    bounds = tuple((name, bound) for name, bound in given.items() if bound is not None)
    return _field(default, {"bounds": bounds, **facts})


def choice(*options: str, default: Any = MISSING, **facts: Unpack[Given]) -> Any:
    """A field whose value must be one of the options."""
    return _field(default, {"options": options, **facts})


def section(schema: type, **facts: Unpack[Given]) -> Any:
    """A field that is a section of keys of its own, whose facts its keys inherit."""
    return field(default_factory=schema, metadata={FACTS: facts})


def _field(default: Any, own: Mapping[str, Any]) -> Any:
    return field(default=UNSET if default is MISSING else default, metadata={FACTS: own})


def facts_on(declared: Field[Any]) -> Facts:
    """The facts that a dataclass's field states itself, without those of a section it may stand in."""
    return Facts().of(declared.metadata.get(FACTS, {}))


_SIGN = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def violation(value: Any, facts: Facts) -> str | None:
    """One phrase saying how value breaks the range of its key, or None if it does not."""
    if value is None:
        return None
    if facts.options and value not in facts.options:
        return f"must be one of {', '.join(facts.options)}"
    held = {
        "ge": lambda bound: value >= bound,
        "gt": lambda bound: value > bound,
        "le": lambda bound: value <= bound,
        "lt": lambda bound: value < bound,
    }
    # A NaN compares false with everything and so breaks every bound.
    if all(held[name](bound) for name, bound in facts.bounds):
        return None
    return "must be " + " and ".join(f"{_SIGN[name]} {bound:g}" for name, bound in facts.bounds)
