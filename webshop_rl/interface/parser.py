"""Free text to an action: lenient, total, never raising.

Takes the bracketed forms of WebShop and the loose natural forms people and models use:
"search red shoes", "click 1", "buy 1", "buy now", "I will click on 'Buy Now'."
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# One level of brackets inside the argument: options such as "size [large]".
_BRACKETED = re.compile(r"\b(search|click|buy)\s*\[((?:[^\[\]\n]|\[[^\[\]\n]*\])*)\]", re.IGNORECASE)
_LOOSE = re.compile(
    r"\b(search|click|buy|select|choose|open)\b(?:\s+(?:for|on))?[ :]*([^\n\[\]]*)", re.IGNORECASE
)
_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
_BUY_NOW = "buy now"


def parse_action(reply: str, labels: Mapping[str, str], *, can_search: bool) -> str:
    """The canonical action a reply asks for, or "" if it asks for none that this page offers.

    Args:
        reply: text of the reply, without the end-of-reply token.
        labels: what the policy may click, as shown to it -> as the shop names it.
        can_search: whether the page has a search box.
    Returns: "search[...]", "click[...]" or "buy[...]" in the shop's own names, or "".
    """
    text = _THOUGHT.sub("", reply)
    named = {_squash(label): target for label, target in labels.items()}
    for pattern in (_BRACKETED, _LOOSE):
        for match in pattern.finditer(text):
            action = _resolve(match[1].lower(), _clean(match[2]), named, can_search=can_search)
            if action:
                return action
    return ""


def _resolve(verb: str, argument: str, named: Mapping[str, str], *, can_search: bool) -> str:
    if verb == "search":
        argument = " ".join(re.sub(r"[\[\]]", " ", argument).split())
        return f"search[{argument}]" if argument and can_search else ""
    key = _squash(argument)
    if verb == "buy":
        if key in ("now", "", "it", "item", "this"):
            return f"click[{named[_squash(_BUY_NOW)]}]" if _squash(_BUY_NOW) in named else ""
        return f"buy[{named[key]}]" if key in named else ""
    return f"click[{named[key]}]" if key in named else ""


def _clean(argument: str) -> str:
    return " ".join(argument.lower().strip().strip("\"'`.,!*").split())


def _squash(label: str) -> str:
    """Labels are compared without white space: word-level tokenizers put blanks around punctuation."""
    return re.sub(r"\s+", "", label.lower())
