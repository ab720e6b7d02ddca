"""The grammar of a page, over tokens: `search[` words of the instruction `]`, `click[` a target `]`.

A query is an order-preserving choice of the instruction's words, without repeats, or a window of them
(words that stand side by side): the masked policy can say anything worth searching, cannot loop, and ends
by itself. The same masks are recorded with the sampled tokens and applied in learning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webshop_rl.interface.masks import TokenMask, only

Encode = Callable[[str], list[int]]


class Unspellable(ValueError):
    """An action that no reply of a grammar asks for."""


@dataclass(frozen=True)
class Path:
    """One way to read the tokens so far.

    Attributes:
        literal: tokens that must still follow, before anything else.
        words: indices of the query words chosen; a word counts from its first token on.
        query: True inside a query, where another word may follow once `literal` is empty.
        action: the action this path spells, if it is a click or a closed query.
    """

    literal: tuple[int, ...]
    words: tuple[int, ...] = ()
    query: bool = False
    action: str | None = None


State = tuple[Path, ...]


class PageGrammar:
    """A token automaton for the actions of one page.

    A state is the set of readings still possible (tokenizers may spell two words with a common
    prefix), so nothing is assumed of the tokenizer but that it is deterministic.

    Args:
        encode: text to token ids, no special tokens.
        end: id of the end-of-reply token.
        words: words a query may use, in order.
        targets: what may be clicked, as shown to the policy, e.g. "buy now".
        can_search: whether the page has a search box.
        max_words: most words in a query; None for no limit.
        window: whether the words of a query stand side by side in `words`; else any may be left out.

    Attributes:
        max_tokens: no reply is longer, its end token included.
    """

    def __init__(
        self,
        encode: Encode,
        end: int,
        *,
        words: Sequence[str],
        targets: Sequence[str],
        can_search: bool,
        max_words: int | None,
        window: bool = False,
    ) -> None:
        words = [word for word in words if encode(word)]  # a tokenizer may know none of its characters
        self._encode = encode
        self._targets = list(targets)
        self._can_search = can_search
        self._end = end
        self._words = words
        self._max_words = len(words) if max_words is None else max_words
        self._window = window
        self._first = [tuple(encode(word)) for word in words]
        self._later = [tuple(encode(" " + word)) for word in words]
        self._close = tuple(encode("]"))
        start = [Path(tuple(encode(f"click[{target}]")), action=f"click[{target}]") for target in targets]
        if can_search and words:
            start.append(Path(tuple(encode("search[")), query=True))
        self.start: State = tuple(start)
        self.max_tokens = 1 + max([self._longest_query(), *(len(path.literal) for path in start)])
        self._masks: dict[State, TokenMask] = {}

    def plain(self) -> dict[str, Any]:
        """All that makes it, as JSON has it, for a process without the tokenizer; see `of`."""
        clicks = [f"click[{target}]" for target in self._targets]
        texts = [*self._words, *(" " + word for word in self._words), *clicks, "search[", "]"]
        return {
            "spelled": {text: self._encode(text) for text in texts},
            "end": self._end,
            "words": self._words,
            "targets": self._targets,
            "can_search": self._can_search,
            "max_words": self._max_words,
            "window": self._window,
        }

    @staticmethod
    def of(plain: Mapping[str, Any]) -> PageGrammar:
        """The same grammar again, of what `plain` gave."""
        rest = {key: value for key, value in plain.items() if key not in ("spelled", "end")}
        return PageGrammar(plain["spelled"].__getitem__, plain["end"], **rest)

    def _longest_query(self) -> int:
        spelled = [max(len(a), len(b)) for a, b in zip(self._first, self._later, strict=True)]
        most = self._max_words
        if self._window:
            longest = max((sum(spelled[at : at + most]) for at in range(len(spelled))), default=0)
        else:
            longest = sum(sorted(spelled, reverse=True)[:most])
        return sum(len(path.literal) for path in self.start if path.query) + longest + len(self._close)

    def _expand(self, path: Path) -> list[Path]:
        """Replace a path at a choice point by the paths it may go on with."""
        if path.literal or not path.query:
            return [path]
        begun = path.words
        spelling = self._later if begun else self._first
        paths = []
        if len(begun) < self._max_words:
            first = begun[-1] + 1 if begun else 0
            last = first + 1 if begun and self._window else len(self._words)
            following = range(first, min(last, len(self._words)))
            paths = [Path(spelling[j], (*begun, j), query=True) for j in following]
        if begun:
            text = " ".join(self._words[j] for j in begun)
            paths.append(Path(self._close, begun, action=f"search[{text}]"))
        return paths

    def _open(self, state: State) -> list[Path]:
        return [path for reading in state for path in self._expand(reading)]

    def mask(self, state: State) -> TokenMask:
        """Tokens that may come next; the end token once an action is complete, or if there is none."""
        known = self._masks.get(state)
        if known is None:
            known = only(
                {path.literal[0] if path.literal else self._end for path in self._open(state)} or {self._end}
            )
            self._masks[state] = known
        return known

    def advance(self, state: State, token: int) -> State:
        """The state after a token that the mask let through (not the end token)."""
        survivors: dict[tuple[object, ...], Path] = {}
        for path in self._open(state):
            if path.literal and path.literal[0] == token:
                rest = Path(path.literal[1:], path.words, path.query, path.action)
                # Readings that can go on in the same way are one; the earliest word keeps most choice.
                key = (rest.literal, rest.words[-1:], rest.query, rest.action)
                if not rest.query or key not in survivors:
                    survivors.setdefault(key, rest)
        return tuple(survivors.values())

    def spelling(self, action: str) -> list[int]:
        """The tokens of a reply that asks for an action, its end included.

        Args:
            action: "search[words]" or "click[target]", the target as shown.
        Raises: Unspellable if the page offers no such click, or the words are no query of the instruction.
        """
        wanted = tuple(action.removeprefix("search[").removesuffix("]").split(" "))
        # Tokens before the path's literal, and the path.
        open_paths: list[tuple[list[int], Path]] = [([], path) for path in self.start]
        while open_paths:
            before, path = open_paths.pop()
            tokens = [*before, *path.literal]
            if path.action == action:
                return [*tokens, self._end]
            if path.query and tuple(self._words[j] for j in path.words) == wanted[: len(path.words)]:
                following = self._expand(Path((), path.words, query=True))
                open_paths += [(tokens, further) for further in reversed(following)]
        raise Unspellable(f"the page's grammar has no {action!r}")

    def action(self, state: State) -> str | None:
        """The complete action spelled by the tokens so far, or None."""
        return next((path.action for path in state if not path.literal and path.action), None)
