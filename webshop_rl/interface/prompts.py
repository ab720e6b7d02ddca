"""What the policy reads: goal, pages, advice, worked examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from webshop_rl.config.groups import ViewConfig
from webshop_rl.envs.types import Goal, Page
from webshop_rl.interface import views
from webshop_rl.interface.codec import Codec
from webshop_rl.interface.views import (
    CUT,
    CompactPages,
    Shown,
    View,
    cut_to,
    full_text,
    label_targets,
    past_line,
)

_SYSTEM = (
    "You shop on a web site. Each message shows a page; answer with exactly one action: "
    "search[words] where a search box is shown, or click[target] with something shown on the page. "
    "Find the product that fits the instruction, choose its options, then click[buy now]."
)
_THINK = " Think first, inside <think> and </think>, then give the action."
_EXAMPLES = (
    "Instruction: i need a small green mug under 20 dollars\n"
    "Page: Search -> search[small green mug]\n"
    "Page: results, the first of them a green mug for $12 -> click[{first}]\n"
    "Page: the mug, sizes small and large, Buy Now -> click[small]\n"
    "Page: the same -> click[buy now]",
    "Instruction: i want a black desk lamp\n"
    "Page: Search -> search[black desk lamp]\n"
    "Page: results -> click[{first}]\n"
    "Page: a white lamp, the wrong one -> click[back to search]\n"
    "Page: Search -> search[desk lamp black]",
)
_ACTIONS = "\nActions: {}"
_SEARCH = "search[words]"
# What prompts say that is of no goal and no product; renaming leaves these words alone.
FURNITURE = (*views.FURNITURE, _ACTIONS, _SEARCH)
_COMPACT = " A page that you have seen already is only named: same results, same item."


@dataclass(frozen=True)
class Prompter:
    """Turns goals and pages into context tokens.

    Args:
        codec: the model's tokenizer and transcript frame.
        product_labels: how results are named, see views.label_targets.
        think, few_shot, list_actions: as the config keys of rollout.
        max_page_tokens: a longer page is cut at its end and marked "...".
        compact: the budgets of compact pages, which max_page_tokens does not concern; None for whole pages.
    """

    codec: Codec
    product_labels: str = "asin"
    think: bool = False
    few_shot: int = 0
    list_actions: bool = False
    max_page_tokens: int = 512
    compact: ViewConfig | None = None

    def first_view(self, goal: Goal, page: Page, past: Sequence[str] = (), turn: int = 1) -> View:
        """The page as shown where a segment starts, the instruction before it.

        Args:
            past: lines on what was done before (see past_line).
            turn: the number of the turn that begins with the page, from 1.
        """
        labels = label_targets(page, self.product_labels)
        if self.compact is None:
            view = self._view(page, labels, full_text(page, labels, with_instruction=page.kind == "search"))
            # A page in the middle of an episode may be cut; the instruction before it is not.
            before = "" if page.kind == "search" else f"Instruction: [SEP] {goal.instruction} [SEP] "
            return replace(view, text="\n".join([*past, before + view.text]))
        pages = CompactPages(self.compact, self.codec)
        lines = [pages.instruction(goal.instruction), *past, pages.text(page, labels, {}, turn)]
        return self._view(page, labels, "\n".join(lines))

    def past_line(self, view: View, action: str) -> str:
        """A page that was shown and what was done there, as later segments are reminded of it.

        Args:
            action: the shop's, "search[words]" or "click[target]"; "" if the reply asked for none.
        """
        return past_line(view, action, self.codec)

    def view(self, page: Page, shown: Shown, turn: int) -> View:
        """The page as shown further on.

        Args:
            shown: kind of page -> identity of the last one of that kind in the transcript.
            turn: the number of the turn that begins with the page, from 1.
        """
        labels = label_targets(page, self.product_labels)
        if self.compact is None:
            return self._view(page, labels, full_text(page, labels, with_instruction=False))
        text = CompactPages(self.compact, self.codec).text(page, labels, shown, turn)
        return self._view(page, labels, text)

    def _view(self, page: Page, labels: dict[str, str], text: str) -> View:
        if self.list_actions:
            search = [_SEARCH] if page.can_search else []
            text += _ACTIONS.format(", ".join([*search, *(f"click[{name}]" for name in labels)]))
        if self.compact is None:
            text = cut_to(text, self.max_page_tokens, self.codec)
        return View(text, labels, page)

    @property
    def system(self) -> str:
        """What a transcript says before the first page."""
        first = "item 1" if self.product_labels == "rank" else "b07xyz1234"
        system = _SYSTEM + (_COMPACT if self.compact else "") + (_THINK if self.think else "")
        if self.few_shot:
            system += "\n\nExamples:\n" + "\n\n".join(_EXAMPLES[: self.few_shot]).format(first=first)
        return system

    def opening(self, view: View) -> list[int]:
        """Context tokens up to the first reply."""
        return self.codec.frame_opening(self.system, view.text)

    def page(self, view: View, *, reply_ended: bool) -> list[int]:
        """Context tokens between two replies."""
        return self.codec.frame_page(view.text, reply_ended=reply_ended)

    def page_within(self, view: View, room_tokens: int, *, reply_ended: bool) -> list[int]:
        """`page`, its text cut to fit into room_tokens; [] if not even its frame fits."""
        tokens = self.page(view, reply_ended=reply_ended)
        if len(tokens) <= room_tokens:
            return tokens
        frame = len(self.codec.frame_page(CUT, reply_ended=reply_ended))
        text = cut_to(view.text, max(0, room_tokens - frame), self.codec)
        tokens = self.page(replace(view, text=text), reply_ended=reply_ended)
        return tokens if len(tokens) <= room_tokens else []
