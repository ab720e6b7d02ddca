"""One reply being decoded: which tokens may come next, when it is over, what it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from webshop_rl.envs.words import instruction_words
from webshop_rl.interface.codec import Codec
from webshop_rl.interface.grammar import PageGrammar, Unspellable
from webshop_rl.interface.masks import TokenMask, everything_but, only
from webshop_rl.interface.parser import parse_action
from webshop_rl.interface.views import View

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
_CLOSE_WINDOW = 12  # tokens looked back on for the closing mark


@dataclass(frozen=True)
class Ahead:
    """What decides the masks of the tokens to come, for who samples several without asking in between.

    Attributes:
        max_tokens: to sample at most; the reply may be over, or masked in another way, sooner.
        grammar: of the page; it masks the tokens after those that are `said`.
        said: tokens of the grammar's part of the reply so far.
        mask: in force at every token, where there is no grammar.
    """

    max_tokens: int
    grammar: PageGrammar | None = None
    said: tuple[int, ...] = ()
    mask: TokenMask | None = None


class Reply(Protocol):
    """Incremental decoding of one reply."""

    @property
    def max_tokens(self) -> int:
        """No reply is longer, forced tokens and the end included."""
        ...

    @property
    def finished(self) -> bool:
        """Whether no further token is wanted."""
        ...

    @property
    def cut(self) -> bool:
        """Whether the reply ended at its length limit."""
        ...

    def mask(self) -> TokenMask | None:
        """What may come next."""
        ...

    def ahead(self) -> Ahead:
        """What may be sampled from here on, where the next token is not forced."""
        ...

    def push(self, token: int) -> None:
        """Take the next token."""
        ...

    def action(self) -> str:
        """The shop's action the finished reply asks for, or ""."""
        ...

    def spelling(self, action: str) -> list[int]:
        """All tokens of a reply that asks for an action of the shop.

        Raises: Unspellable if no reply on this page asks for it.
        """
        ...


class AdmissibleReply:
    """Decoding restricted by the page's grammar."""

    def __init__(self, codec: Codec, grammar: PageGrammar, view: View) -> None:
        self._end = codec.end
        self._grammar = grammar
        self._view = view
        self._state = grammar.start
        self._said: list[int] = []
        self.max_tokens = grammar.max_tokens
        self.finished = False
        self.cut = False

    def mask(self) -> TokenMask | None:
        return self._grammar.mask(self._state)

    def ahead(self) -> Ahead:
        return Ahead(self.max_tokens - len(self._said), self._grammar, tuple(self._said))

    def push(self, token: int) -> None:
        self._said.append(token)
        if token == self._end:
            self.finished = True
        else:
            self._state = self._grammar.advance(self._state, token)

    def action(self) -> str:
        spelled = self._grammar.action(self._state) or ""
        if spelled.startswith("click["):
            return f"click[{self._view.labels[spelled[6:-1]]}]"
        return spelled

    def spelling(self, action: str) -> list[int]:
        """A query is spelled without punctuation and in lower case, as the grammar has its words."""
        if action.startswith("search["):
            return self._grammar.spelling(f"search[{' '.join(instruction_words(action[7:-1]))}]")
        return self._grammar.spelling(_as_shown(action, self._view))


class FreeReply:
    """Any text up to the end-of-reply token, parsed leniently."""

    def __init__(self, codec: Codec, view: View, max_tokens: int) -> None:
        self._codec = codec
        self._view = view
        self.max_tokens = self._left = max_tokens
        self._tokens: list[int] = []
        self._mask = everything_but(list(codec.special))
        self.finished = False
        self.cut = False

    def mask(self) -> TokenMask | None:
        return self._mask

    def ahead(self) -> Ahead:
        return Ahead(self._left, mask=self._mask)

    def push(self, token: int) -> None:
        self._left -= 1
        if token == self._codec.end:
            self.finished = True
            return
        self._tokens.append(token)
        if self._left == 0:
            self.finished = self.cut = True

    def action(self) -> str:
        text = self._codec.decode(self._tokens)
        return parse_action(text, self._view.labels, can_search=self._view.page.can_search)

    def spelling(self, action: str) -> list[int]:
        text = _as_shown(action, self._view)
        tokens = [*self._codec.encode(text), self._codec.end]
        asked = parse_action(text, self._view.labels, can_search=self._view.page.can_search)
        if asked != action or len(tokens) > self.max_tokens:
            raise Unspellable(f"no reply on this page asks for {action!r}")
        return tokens


class ThinkingReply:
    """A thinking part `<think> ... </think>` of bounded length, then another reply.

    Both marks are forced when their time has come, so they cost no decision.
    """

    def __init__(self, codec: Codec, then: Reply, max_tokens: int) -> None:
        self._codec = codec
        self._then = then
        self._left = max_tokens
        self._forced = codec.encode(THINK_OPEN)
        self._close = codec.encode(THINK_CLOSE)
        self._free = everything_but([*codec.special, codec.end])
        self.max_tokens = len(self._forced) + max_tokens + len(self._close) + then.max_tokens
        self._thought: list[int] = []
        self._thinking = True

    @property
    def finished(self) -> bool:
        return self._then.finished

    @property
    def cut(self) -> bool:
        return self._then.cut

    def mask(self) -> TokenMask | None:
        if self._forced:
            return only([self._forced[0]])
        return self._free if self._thinking else self._then.mask()

    def ahead(self) -> Ahead:
        """Where the thought ends is seen afterwards, by what it says."""
        return Ahead(self._left, mask=self._free) if self._thinking else self._then.ahead()

    def push(self, token: int) -> None:
        if self._forced:
            self._forced = self._forced[1:]
            return
        if not self._thinking:
            self._then.push(token)
            return
        self._thought.append(token)
        self._left -= 1
        if THINK_CLOSE in self._codec.decode(self._thought[-_CLOSE_WINDOW:]):
            self._thinking = False
        elif self._left == 0:
            self._forced = list(self._close)
            self._thinking = False

    def action(self) -> str:
        return self._then.action()

    def spelling(self, action: str) -> list[int]:
        """Without a thought: there is none to show."""
        marks = [*self._codec.encode(THINK_OPEN), *self._codec.encode(THINK_CLOSE)]
        return [*marks, *self._then.spelling(action)]


def spell(reply: Reply, action: str) -> tuple[list[int], list[TokenMask | None]]:
    """The tokens of a reply that asks for an action of the shop, and the decoding masks in force at them.

    Args:
        reply: of which nothing was said yet; used up.
    Raises: Unspellable if no reply on this page asks for it.
    """
    tokens, masks = reply.spelling(action), list[TokenMask | None]()
    for token in tokens:
        mask = reply.mask()
        if mask is not None and not mask.admits(token):
            raise Unspellable(f"the decoding mask does not let {action!r} through")
        masks.append(mask)
        reply.push(token)
    return tokens, masks


def _as_shown(action: str, view: View) -> str:
    """An action of the shop, its target as the policy sees it."""
    if not action.startswith("click["):
        return action
    target = action[6:-1]
    shown = next((label for label, named in view.labels.items() if named == target), None)
    if shown is None:
        raise Unspellable(f"the page shows no {target!r}")
    return f"click[{shown}]"
