"""Why a test episode failed: one reason from its record, by the first rule that applies.

What was bought is judged first, by the parts of the shop's score; else how the episode went. Success has no
reason. The rules in their order:

    bought
    1. OVER_PRICE      the price is above the limit: of the right product, or of one of its kind (r_type 1)
    2. WRONG_PRODUCT   another product that lacks the kind or an attribute; the right one had been listed
    3. NEVER_LISTED    the same, and the right one had never been listed; NOT_RIGHT where an older record does
                       not say what was listed
    4. NO_OPTIONS      options were asked for, none was chosen
    5. WRONG_OPTION    an option that was asked for is missing, or has another value
    not bought
    6. INVALID         at least half of the replies did not apply
    7. LOOP            at least half of the turns repeat an earlier one: the same action on the same page
    8. NEVER_LISTED    no page listed the right product, as far as the record says what was listed
    9. NEVER_BOUGHT    the page of the right product was opened and left again
    10. OUT_OF_STEPS   the limit of steps, or of the context, came first
    else UNEXPLAINED: all that was asked for was bought, and the shop's score is not full

Imports nothing but the standard library: the analysis reads this module too.

Another product that the shop gives full marks for kind and attributes is as good as the right one: rules 2
and 3 pass it by, for what it lost is its price or its options.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

_SHARE = 0.5  # of an episode's turns, from which invalid replies or repetitions are the reason


class Reason(enum.StrEnum):
    """Why an episode failed, as tables and figures call it, in the order in which they show it."""

    NEVER_LISTED = "right product never listed"
    WRONG_PRODUCT = "wrong product, right one listed"
    NOT_RIGHT = "wrong product, lists not recorded"
    OVER_PRICE = "over the price"
    NO_OPTIONS = "bought without options"
    WRONG_OPTION = "wrong or missing option"
    NEVER_BOUGHT = "right product left, nothing bought"
    LOOP = "loop"
    INVALID = "invalid actions"
    OUT_OF_STEPS = "out of steps"
    UNEXPLAINED = "none of these"


def reason(record: Record) -> Reason | None:
    """The reason of an episode, None if it succeeded.

    Args:
        record: as evaluation.records.episode_record makes it; analysis.records completes older ones.
    """
    if record["success"]:
        return None
    return _of_purchase(record) if record["end"] == "bought" else _without_purchase(record)


def count_reasons(records: Iterable[Record]) -> Counter[Reason]:
    """How many episodes failed for each reason."""
    return Counter(found for found in map(reason, records) if found is not None)


def _of_purchase(record: Record) -> Reason:
    parts, chosen = record["turns"][-1]["parts"], record["turns"][-1]["chosen"]
    right = record["bought"] == record["asin"]
    if parts.get("r_price") == 0 and (right or parts.get("r_type") == 1):
        return Reason.OVER_PRICE
    if not right and not (parts.get("r_type") == 1 and parts.get("r_att") == 1):
        if _listed(record):
            return Reason.WRONG_PRODUCT
        return Reason.NEVER_LISTED if _lists_known(record) else Reason.NOT_RIGHT
    if parts.get("r_option", 1) < 1 and not chosen:
        return Reason.NO_OPTIONS
    if parts.get("r_option", 1) < 1 and not _as_asked(record, list(chosen.values())):
        return Reason.WRONG_OPTION
    return Reason.UNEXPLAINED


def _without_purchase(record: Record) -> Reason:
    turns = record["turns"]
    if sum(not turn["valid"] for turn in turns) >= _SHARE * max(1, len(turns)):
        return Reason.INVALID
    if len(turns) - len(set(map(_state, turns))) >= _SHARE * len(turns):
        return Reason.LOOP
    if not _listed(record) and _lists_known(record):
        return Reason.NEVER_LISTED
    left = any(_shows(record, turn) and turn["kind"] in ("back", "query") for turn in turns)
    return Reason.NEVER_BOUGHT if left else Reason.OUT_OF_STEPS


def _state(turn: Record) -> tuple[object, ...]:
    """What one turn repeats of another: where it was, and what it did."""
    return (turn["page_kind"], *turn["asins"], *sorted(turn["chosen"].items()), turn["action"])


def _listed(record: Record) -> bool:
    return any(record["asin"] in turn["asins"] for turn in record["turns"])


def _lists_known(record: Record) -> bool:
    """Whether a record says which products its pages listed; older ones may not (records.completed)."""
    return bool(record.get("lists_known", True))


def _shows(record: Record, turn: Record) -> bool:
    return turn["page_kind"] == "item" and list(turn["asins"]) == [record["asin"]]


def _as_asked(record: Record, chosen: Sequence[str]) -> bool:
    """Whether as many options were chosen as were asked for, and the instruction names each of them."""
    parts = record["turns"][-1]["parts"]
    wanted = round(parts["w_option"] / parts["w_price"])  # weights of a score are shares of one whole
    return len(chosen) >= wanted and all(names(value, record["instruction"]) for value in chosen)


def names(value: str, text: str) -> bool:
    """Whether a text has a value as a word, or words, of its own."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE) is not None
