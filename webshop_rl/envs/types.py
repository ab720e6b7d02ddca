"""What a shop is to the rest of the platform: goals, pages, sessions and steps.

A *shop* is immutable and shared (catalogue, goals, search index); a *session* is one episode's
browser. A session is deterministic given (goal, seed) and the actions taken.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

SPLITS = ("train", "val", "test")
# Click targets that mean the same in every shop that has them.
BUY = "buy now"
PREVIOUS = "< prev"
NEXT = "next >"
BACK = "back to search"
# Kinds of decisions; "other" is a reply without an action, a sub-page, the next page of results.
KINDS = ("query", "open", "option", "back", "buy", "other")


class EndReason(enum.StrEnum):
    """Every way in which an episode can end."""

    BOUGHT = "bought"  # terminated: something was bought
    MAX_STEPS = "max_steps"  # truncated: the step limit of the environment
    CONTEXT = "context"  # truncated: the transcript no longer fits the model's context


@dataclass(frozen=True)
class Goal:
    """One instruction to fulfil.

    Attributes:
        id: stable name of the goal, e.g. "shop5/3" or "synthetic/117"; unique within its shop.
        asin: product the goal was made from; splits are by it.
        instruction: what the shopper asks for, as the page shows it.
        stage: name of the stage of a curriculum that it belongs to; "" without one.
    """

    id: str
    asin: str
    instruction: str
    stage: str = field(default="", kw_only=True, repr=False)


@dataclass(frozen=True)
class ResultLine:
    """One product in a list of results: the target that opens it, and what is printed beside it."""

    target: str
    title: str
    price: str


@dataclass(frozen=True)
class Page:
    """What a session shows after reset or a step: as text, and by its parts.

    Attributes:
        text: the whole observation, instruction included, as the original shop prints it.
        body: the same without the instruction, which a transcript holds already.
        can_search: whether a search box is there.
        clickables: admissible click targets, lower-cased, in page order (no search button).
        products: the subset of clickables that are products in a list of results, in order.
        options: the subset of clickables that choose an option of the product shown.
        kind: "search", "results", "item", "sub" or "end".
        results: the lines of a list of results, one for each of `products`, in order.
        opened: the subset of `products` that the shop marks as opened before.
        title, price: of the product that an item page shows, as printed.
        option_groups: name of an option to those of `options` that choose its value, in order.
        chosen: name of an option to the value that a purchase now would take.
        asins: of the products that it lists, or of the one that it is about; at the end, of what was
            bought. For records: no policy reads it.
    """

    text: str
    body: str
    can_search: bool
    clickables: tuple[str, ...]
    products: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    kind: str = "search"
    results: tuple[ResultLine, ...] = ()
    opened: tuple[str, ...] = ()
    title: str = ""
    price: str = ""
    option_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    asins: tuple[str, ...] = ()


def kind_of(action: str, page: Page) -> str:
    """What kind of decision an action is on the page that it is taken on: one of KINDS."""
    if action.startswith("search["):
        return "query"
    target = action.removeprefix("click[").removesuffix("]")
    if target in page.products:
        return "open"
    if target in page.options:
        return "option"
    return {BUY: "buy", PREVIOUS: "back", BACK: "back"}.get(target, "other")


def state_of(page: Page) -> Hashable:
    """All that a page shows, what is chosen on it and was opened from it included.

    The same for identical pages, whatever was done to get there. It is not the state of the session: what
    other pages would show, and rewards earned once an episode, may differ. Nothing is computed of the text
    here: every turn of every run has its page's, and few algorithms ask.
    """
    return (page.kind, page.text, tuple(sorted(page.chosen.items())), page.opened)


@dataclass(frozen=True)
class Step:
    """What one action did.

    Attributes:
        page: the page that answers.
        reward: reward of this step under the configured reward ("binary", "score", "shaped").
        terminated, truncated: as in Gymnasium; both stay true once true.
        applied: False if the action did not apply (the page stays as it was).
        score: WebShop's final score in [0, 1] once something was bought, else 0.
        parts: the parts of the score or of the shaping (r_type, r_att, ...), for records.
        progress: how near the page is to what the goal asks for, each part in [0, 1]; empty where a shop does
            not say, and at the end. "search": results show the target; "category": a product of the right
            category is open; "product": the target is; "options": share of the wanted options chosen there.
    """

    page: Page
    reward: float
    terminated: bool = False
    truncated: bool = False
    applied: bool = True
    score: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    progress: Mapping[str, float] = field(default_factory=dict)


class Session(Protocol):
    """One shopper's browser. Actions are "search[words]" and "click[target]"."""

    goal: Goal

    def reset_to(self, goal: Goal, *, seed: int) -> Page:
        """Start an episode; seed fixes all that is random in the shop (e.g. shuffled results)."""
        ...

    def step(self, action: str) -> Step:
        """Apply one action. After the end every further action leaves the end page, reward 0."""
        ...


class Answers(Protocol):
    """What a shop tells a demonstrator of its training goals.

    Each function that takes a goal raises ValueError for one outside the training split.
    """

    def query(self, goal: Goal) -> str:
        """What to search for: a window of the instruction."""
        ...

    def product(self, line: ResultLine) -> str:
        """A name of the product of a line, the same on every page that lists it."""
        ...

    def rules_out(self, goal: Goal, line: ResultLine) -> bool:
        """Whether the line alone shows that the product is wrong; the others must be opened to be judged."""
        ...

    def worth(self, goal: Goal, product: str) -> float:
        """How much speaks for buying a product with `options`: 1 where nothing better is to be looked for."""
        ...

    def options(self, goal: Goal, product: str) -> Sequence[str]:
        """The options to choose before a product is bought, as its page calls them, in a fixed order."""
        ...


class PlayableShop(Protocol):
    """A catalogue with its goals; safe to share between sessions of one process."""

    max_steps: int

    @property
    def remarks(self) -> Sequence[str]:
        """What a reader of figures from this shop has to know, e.g. that its products stand in for others."""
        ...

    def goals(self, split: str) -> Sequence[Goal]:
        """Goals of "train", "val", "test" or "all", in a fixed order."""
        ...

    def session(self) -> Session: ...

    def digest(self) -> str:
        """Hex digest of all that decides an episode: data, goals, fidelity, reward."""
        ...

    def split_digest(self) -> str:
        """Hex digest of the assignment of goals to splits."""
        ...

    def furniture(self) -> Iterable[str]:
        """What pages say besides instructions and products: words that a renaming leaves alone."""
        ...

    def texts(self) -> Iterable[str]:
        """All text a page may show: what the vocabulary of the tiny model is made from."""
        ...


class Shop(PlayableShop, Protocol):
    """The same with what a demonstrator asks for."""

    def answers(self) -> Answers:
        """What a demonstrator may know: of training goals, and of no others."""
        ...
