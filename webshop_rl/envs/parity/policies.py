"""What the scripts that produced the recorded trajectories do, as patterns over coded actions.

Each action is coded by what it is on the page where it was taken:

    S  search of the instruction, in a search box     D  a sub-page is opened
    s  another search, in a search box                o  an option that the goal asks for
    Z  any search on a page without a search box      O  another option
    Q  a special search ("<q> beds")                  B  buy now
    N  next >    <  < prev    K  back to search       X  an action that changes nothing
    T  the target is opened                           V  one that applies though not written as the
    F  the first result, the target not in sight         page has it (capitals, text after the "]")
    P  another product
"""

from __future__ import annotations

import re
from collections.abc import Collection

from webshop_rl.envs.webshop import pages
from webshop_rl.envs.webshop.browser import View, parse_action
from webshop_rl.envs.webshop.goals import WebshopGoal

STEP_LIMIT = 14
SCRIPTED_STEPS = 5
INSTRUCTION_WORDS = 3  # in a search made of words of the instruction

PATTERNS = {
    "scripted_first": r"S[TF][oO]?B",
    "scripted_good": r"SN{0,4}[TF](D<)?o*B",
    "special_search": r"QNNN<K",
    "after_done": r"S[TFP][oO]*BXXX[ZSsNTFPDKoO<]*B",
    "random_valid": r"[SsNTFPDKoO<]*B?",
    "browse": r"[SsZNTFPDKoO<]*B?",
    "mixed_invalid": r"(?=.*[XV])[^B]*B?",
}
# Scripts that stop only at the end of an episode or after 14 actions.
OPEN_ENDED = ("random_valid", "browse", "mixed_invalid")
AFTER_DONE_SLIPS = ("click[buy now]", "click[back to search]", "foo")

_STUCK = re.compile(
    r"\][A-Za-z0-9]|^[A-Za-z0-9]+(click|search)\[|^(click|search|foo|buy now)[A-Za-z0-9]", re.IGNORECASE
)
_LABELS = {
    label.lower(): label
    for label in (pages.BACK_TO_SEARCH, pages.NEXT_PAGE, pages.PREVIOUS_PAGE, pages.BUY_NOW, *pages.SUB_PAGES)
}
_BUTTONS = {
    pages.NEXT_PAGE.lower(): "N",
    pages.PREVIOUS_PAGE.lower(): "<",
    pages.BACK_TO_SEARCH.lower(): "K",
    pages.BUY_NOW.lower(): "B",
    **{name.lower(): "D" for name in pages.SUB_PAGES},
}


def code(action: str, view: View, goal: WebshopGoal, *, applied: bool) -> str:
    """The letter of an action taken on a page (module docstring)."""
    if not applied:
        return "X"
    verb, argument = parse_action(action)
    written = action[len(verb) + 1 : -1]
    if verb == "search":
        if action != f"search[{written}]" or written.lower() != argument:
            return "V"
        if written.startswith("<"):
            return "Q"
        if not view.has_search_bar:
            return "Z"
        return "S" if written == goal.instruction else "s"
    if action != f"click[{argument}]":
        return "V"
    if argument in view.products:
        if argument == goal.asin.lower():
            return "T"
        unseen = goal.asin.lower() not in view.products
        return "F" if unseen and argument == view.products[0] else "P"
    if argument in _BUTTONS:
        return _BUTTONS[argument]
    return "o" if argument in [value for _, value in goal.options] else "O"


def fits(policy: str, codes: str, actions: Collection[str]) -> bool:
    """Whether a script can have taken these actions."""
    if not re.fullmatch(PATTERNS[policy], codes):
        return False
    if policy in OPEN_ENDED:
        # By chance nobody buys the target in so many right steps.
        scripted = len(codes) >= SCRIPTED_STEPS and re.fullmatch(PATTERNS["scripted_good"], codes)
        return not scripted and (codes.endswith("B") or len(codes) == STEP_LIMIT)
    if policy == "after_done":
        after = codes.index("B") + 1
        return tuple(actions)[after : after + len(AFTER_DONE_SLIPS)] == AFTER_DONE_SLIPS
    return True


def is_natural_search(text: str, goal: WebshopGoal, queries: Collection[str]) -> bool:
    """Whether a script that only acts validly would search this.

    It searches the instruction, a product's query, three words of the instruction, or something a
    person wrote, which is in lower case.
    """
    words = text.split(" ")
    from_instruction = len(words) == INSTRUCTION_WORDS and set(words) <= set(goal.instruction.split())
    return (
        text == goal.instruction
        or text in queries
        or from_instruction
        or (bool(text) and text == text.lower() and "\n" not in text)
    )


def is_plausible_slip(action: str, code_: str) -> bool:
    """Whether an action of the script "mixed_invalid" is written as that script writes.

    Its slips that apply are capitals, or a remark after the "]". None, applied or not, is another slip or
    a right action with letters or digits stuck to it.
    """
    if code_ in "VX" and _STUCK.search(action):
        return False
    if code_ == "V":
        verb, argument = parse_action(action)
        written = action[len(verb) + 1 : action.rindex("]")]
        return written in (argument, written.upper(), _LABELS.get(argument or ""))
    return True
