"""What the policy reads: goal, pages, advice, worked examples."""

from __future__ import annotations

from dataclasses import dataclass, replace

from webshop_rl.envs.types import Goal, Page
from webshop_rl.models.codec import Codec

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
_CUT = " ..."


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


def view_page(page: Page, *, product_labels: str, repeat_instruction: bool, list_actions: bool) -> View:
    """Render a page for the policy.

    Args:
        product_labels: "asin" keeps the shop's names of results; "rank" shows "item 1", "item 2", ...
            which a small model can learn to click without spelling ten letters.
        repeat_instruction: whether the text holds the instruction (needed only once a transcript).
        list_actions: append the admissible actions.
    """
    text = page.text if repeat_instruction else page.body
    names = {target: target for target in page.clickables}
    numbered = all(product == str(rank) for rank, product in enumerate(page.products, start=1))
    if product_labels == "rank" and not numbered:
        for rank, product in enumerate(page.products, start=1):
            names[product] = f"item {rank}"
            text = text.replace(product.upper(), f"item {rank}").replace(product, f"item {rank}")
    labels = {shown: target for target, shown in names.items()}
    if list_actions:
        actions = [*(["search[words]"] if page.can_search else []), *(f"click[{name}]" for name in labels)]
        text += "\nActions: " + ", ".join(actions)
    return View(text, labels, page)


@dataclass(frozen=True)
class Prompter:
    """Turns goals and pages into context tokens.

    Args:
        codec: the model's tokenizer and transcript frame.
        product_labels, list_actions: as in view_page.
        think, few_shot: as the config keys of rollout.
        max_page_tokens: a longer page is cut at its end and marked "...".
    """

    codec: Codec
    product_labels: str = "asin"
    think: bool = False
    few_shot: int = 0
    list_actions: bool = False
    max_page_tokens: int = 512

    def view(self, page: Page, *, first: bool) -> View:
        """The page as shown at this place of a transcript."""
        return view_page(
            page,
            product_labels=self.product_labels,
            repeat_instruction=first,
            list_actions=self.list_actions,
        )

    def opening(self, goal: Goal, view: View) -> list[int]:
        """Context tokens up to the first reply."""
        first = "item 1" if self.product_labels == "rank" else "b07xyz1234"
        system = _SYSTEM + (_THINK if self.think else "")
        if self.few_shot:
            system += "\n\nExamples:\n" + "\n\n".join(_EXAMPLES[: self.few_shot]).format(first=first)
        return self.codec.frame_opening(system, self._fit(view.text))

    def page(self, view: View, *, reply_ended: bool) -> list[int]:
        """Context tokens between two replies."""
        return self.codec.frame_page(self._fit(view.text), reply_ended=reply_ended)

    def page_within(self, view: View, room_tokens: int, *, reply_ended: bool) -> list[int]:
        """`page`, its text cut to fit into room_tokens; [] if not even its frame fits."""
        tokens = self.page(view, reply_ended=reply_ended)
        if len(tokens) <= room_tokens:
            return tokens
        frame = len(self.codec.frame_page(_CUT, reply_ended=reply_ended))
        cut = replace(self, max_page_tokens=max(0, room_tokens - frame))
        tokens = cut.page(view, reply_ended=reply_ended)
        return tokens if len(tokens) <= room_tokens else []

    def _fit(self, text: str) -> str:
        # About one token a character at worst: only texts that may be too long are counted.
        if len(text) <= self.max_page_tokens:
            return text
        num_tokens = len(self.codec.encode(text))
        words = text.split(" ")
        kept = len(words)
        while num_tokens > self.max_page_tokens and kept:
            # In proportion, then a little less: two or three looks instead of one a word.
            kept = min(kept - 1, kept * self.max_page_tokens // num_tokens)
            num_tokens = len(self.codec.encode(" ".join(words[:kept])))
        if kept == len(words):
            return text
        return " ".join(words[:kept]) + _CUT
