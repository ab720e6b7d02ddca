"""Pages as the policy reads them: whole, as the shop prints them, or compact, within budgets of tokens.

A compact page has a line for each of its parts. A page that the transcript shows already is not shown
again but named, with what is chosen on it or was opened from it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from webshop_rl.config.groups import ViewConfig
from webshop_rl.envs.types import Page
from webshop_rl.interface.codec import Codec

Shown = Mapping[str, Hashable]

CUT = " ..."
WORDS_KEPT = 1 << 16
REFERENCE_TOKENS = 6  # of the title of a product, in a reference to its page
_NODES = re.compile(r"\s*\[SEP\]\s*|\n")
_MARKS = re.compile(r"\[/?(?:clicked )?button_?\]")
_PUNCTUATION = ".,;:!?\"'()[]|-&"
# What a reference calls a page, for the kinds of page that are longer than a reference.
_NAMES = {"results": "results", "item": "item", "sub": "page"}
_RANK = "item {}"
_INSTRUCTION = "instruction: {}"
_SAME = "same {}"
_NO_RESULTS = "no results"
_CHOSEN = "chosen: {}"
_LEFT = "left: {}"  # the options of which no value is chosen yet
_OPENED = "opened: {}"
_CUT_LINE = "{} (cut): {}"
_MORE = "+{} more"
_NO_ACTION = "no action"
_TURN = "turn {}"
# How a page in the past is called, by its kind.
_PAST_NAMES = {"search": "search", "results": "results", "item": "item", "sub": "sub", "end": "end"}
# All that views say of themselves; the words of it that renaming leaves alone.
FURNITURE = (
    *_NAMES.values(), *_PAST_NAMES.values(),
    _RANK, _INSTRUCTION, _SAME, _NO_RESULTS, _CHOSEN, _LEFT, _OPENED, _CUT_LINE, _MORE, _NO_ACTION, _TURN,
)  # fmt: skip


@dataclass(frozen=True)
class View:
    """A page as it is shown to the policy.

    Attributes:
        text: what the prompt holds.
        labels: click targets as shown -> as the shop names them.
        page: the page itself.
    """

    text: str
    labels: dict[str, str]
    page: Page


def identity(page: Page) -> Hashable:
    """Equal for two pages that show the same, whatever is chosen on them or was opened from them."""
    if page.kind == "item":
        return (page.title, page.price, tuple(page.option_groups.items()), page.clickables)
    return (page.results or page.body, page.clickables)


def label_targets(page: Page, product_labels: str) -> dict[str, str]:
    """Click targets as the policy names them -> as the shop does.

    Args:
        product_labels: "asin" keeps the shop's names of results; "rank" shows "item 1", "item 2", ...
            which a small model can learn to click without spelling ten letters.
    """
    names = {target: target for target in page.clickables}
    # Results that are numbered already keep their numbers.
    if product_labels == "rank" and any(p != str(rank) for rank, p in enumerate(page.products, start=1)):
        names |= {product: _RANK.format(rank) for rank, product in enumerate(page.products, start=1)}
    return {shown: target for target, shown in names.items()}


def cut_to(text: str, limit: int, codec: Codec, mark: str = CUT) -> str:
    """The first words of a text that are no more than so many tokens, then a mark if any is left out."""
    # About one token a character at worst: only texts that may be too long are counted.
    if len(text) <= limit:
        return text
    num_tokens = len(codec.encode(text))
    words = text.split(" ")
    kept = len(words)
    while num_tokens > limit and kept:
        # In proportion, then a little less: two or three looks instead of one a word.
        kept = min(kept - 1, kept * limit // num_tokens)
        num_tokens = len(codec.encode(" ".join(words[:kept])))
    return text if kept == len(words) else " ".join(words[:kept]) + mark


def past_line(view: View, action: str, codec: Codec) -> str:
    """A page and what was done there, in few words.

    Args:
        action: the shop's, "search[words]" or "click[target]"; "" if the reply asked for none.
    """
    page = view.page
    title = _words_within(REFERENCE_TOKENS, _words(page.title), codec)
    shown = {f"click[{target}]": f"click[{label}]" for label, target in view.labels.items()}
    name = " ".join([_PAST_NAMES[page.kind], *title])
    return f"{name}: {shown.get(action, action) or _NO_ACTION}"


def full_text(page: Page, labels: Mapping[str, str], *, with_instruction: bool) -> str:
    """A page as the shop prints it, its products by their labels."""
    text = page.text if with_instruction else page.body
    shown = {target: label for label, target in labels.items()}
    for product in page.products:
        if shown[product] != product:
            text = text.replace(product.upper(), shown[product]).replace(product, shown[product])
    return text


@dataclass(frozen=True)
class CompactPages:
    """Pages by their parts.

    Args:
        budget: `view.*`.
        codec: the model's, which the tokens are counted with.
    """

    budget: ViewConfig
    codec: Codec

    def text(self, page: Page, labels: Mapping[str, str], shown: Shown, turn: int) -> str:
        """The page, or a reference to it if it is the last of its kind that was shown.

        Args:
            labels: as label_targets gives them.
            shown: kind -> identity of the last page of that kind in the transcript.
            turn: the number of the turn that begins with it, from 1.
        """
        if page.kind in _NAMES and shown.get(page.kind) == identity(page):
            lines = [_SAME.format(_NAMES[page.kind]), *_chosen(page), *_opened(page, labels)]
        else:
            lines = [*self._parts(page, labels), *self._buttons(page)]
        # A policy that does not know how many steps are left looks on until none is.
        number = [_TURN.format(turn)] if self.budget.turn_numbers else []
        return "\n".join([*lines, *number])

    def instruction(self, text: str) -> str:
        """The instruction. Too long, it loses words in its middle: options and price stand at its end."""
        limit = self.budget.instruction_tokens
        words = text.split()
        kept = len(words)
        while kept and len(self.codec.encode(text)) > limit:
            kept -= 1
            text = " ".join([*words[: kept // 2], CUT.strip(), *words[len(words) - (kept - kept // 2) :]])
        return _INSTRUCTION.format(text)

    def _parts(self, page: Page, labels: Mapping[str, str]) -> Iterator[str]:
        if page.kind == "results":
            yield from self._results(page, labels) if page.results else (_NO_RESULTS,)
            yield from _opened(page, labels)
        elif page.kind == "item":
            yield from self._options(page.option_groups)
            yield from _chosen(page)
            yield " ".join(_words_within(self.budget.title_tokens, _words(page.title), self.codec))
            yield _price(page.price)
        else:
            nodes = [_MARKS.sub("", node).strip() for node in _NODES.split(page.body)]
            said = " ".join(node for node in nodes if node.lower() not in page.clickables)
            yield cut_to(said, self.budget.sub_page_tokens, self.codec)

    def _buttons(self, page: Page) -> Iterator[str]:
        others = {*page.products, *page.options}
        buttons = [target for target in page.clickables if target not in others]
        if self.budget.buttons and buttons:
            yield "; ".join(buttons)

    def _results(self, page: Page, labels: Mapping[str, str]) -> Iterator[str]:
        names = {target: label for label, target in labels.items()}
        titles = distinct_words([line.title for line in page.results])
        for line, words in zip(page.results, titles, strict=True):
            title = _words_within(self.budget.result_title_tokens, words, self.codec)
            price = [_price(line.price)] if self.budget.result_prices else []
            yield " ".join([names[line.target], *title, *price])

    def _options(self, groups: Mapping[str, tuple[str, ...]]) -> list[str]:
        """A line an option. Too long, every value is cut to as many tokens; then as many are left out."""
        lines = [f"{name}: {'; '.join(values)}" for name, values in groups.items()]
        if self._fits(lines):
            return lines
        spelled = {name: [self.codec.encode(value) for value in values] for name, values in groups.items()}
        longest = max(len(ids) for values in spelled.values() for ids in values)
        for length in range(longest - 1, 0, -1):
            lines = [_cut_line(name, self._cut(values, length)) for name, values in spelled.items()]
            if self._fits(lines):
                return lines
        share = 1.0
        while not self._fits(lines) and any(share * len(values) >= 2 for values in spelled.values()):
            share *= 0.8
            lines = [
                _cut_line(name, self._cut(values, 1), max(1, int(share * len(values))))
                for name, values in spelled.items()
            ]
        return lines

    def _cut(self, values: Sequence[Sequence[int]], length: int) -> list[str]:
        return [self.codec.decode(ids[:length]).strip() for ids in values]

    def _fits(self, lines: Sequence[str]) -> bool:
        return len(self.codec.encode("\n".join(lines))) <= self.budget.option_tokens


def distinct_words(titles: Sequence[str]) -> list[list[str]]:
    """The words of each title without those that all of them have, unless nothing would be left."""
    split = [_words(title) for title in titles]
    shared = set.intersection(*({word.lower() for word in words} for words in split))
    if len(titles) == 1:
        return split
    return [[word for word in words if word.lower() not in shared] or words for words in split]


def _words(title: str) -> list[str]:
    return [word for part in title.split() if (word := part.strip(_PUNCTUATION))]


def _words_within(budget: int, words: Sequence[str], codec: Codec) -> list[str]:
    """The first words that there is room for; one that is spelled out at length gives way to later ones."""
    kept: list[str] = []
    for word in words:
        cost = _num_tokens(codec.encode, word)
        if cost <= budget and word not in kept:
            kept.append(word)
            budget -= cost
        if not budget:
            break
    return kept


@functools.lru_cache(maxsize=WORDS_KEPT)
def _num_tokens(encode: Callable[[str], list[int]], word: str) -> int:
    return len(encode(" " + word))


def _cut_line(name: str, values: Sequence[str], kept: int | None = None) -> str:
    shown = values[:kept]
    left_out = [_MORE.format(len(values) - len(shown))] if len(shown) < len(values) else []
    return _CUT_LINE.format(name, "; ".join([*shown, *left_out]))


def _chosen(page: Page) -> list[str]:
    """What is chosen, and the options without a choice: nothing if there is no choice yet."""
    if not page.chosen:
        return []
    left = [name for name in page.option_groups if name not in page.chosen]
    lines = [_CHOSEN.format("; ".join(page.chosen.values()))]
    return [*lines, _LEFT.format("; ".join(left))] if left else lines


def _opened(page: Page, labels: Mapping[str, str]) -> list[str]:
    names = [label for label, target in labels.items() if target in page.opened]
    return [_OPENED.format("; ".join(names))] if names else []


def _price(text: str) -> str:
    """A price without ".0", which says nothing."""
    return re.sub(r"\.0+(?!\d)", "", text)
