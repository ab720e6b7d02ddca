"""A pretrained tokenizer with its chat template as a transcript frame."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from webshop_rl.errors import UserError

_REPLY = "\u0002reply\u0002"  # stands where a reply goes, to find what the template puts around it
# The plain frame of a tokenizer without a chat template, as one.
_PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ m['content'] }}"
    "{% if m['role'] == 'system' %}{{ '\n\n' }}{% elif m['role'] == 'user' %}{{ '\nAction: ' }}"
    "{% else %}{{ eos_token + '\n' }}{% endif %}{% endfor %}"
)
_FIRST, _PAGE = "\u0002first\u0002", "\u0002page\u0002"


class ChatCodec:
    """Codec of a Hugging Face tokenizer.

    The text between a reply and the next is cut out of the rendered template once, so that replies
    themselves are never rendered, decoded or tokenised again.

    Args:
        tokenizer: a `PreTrainedTokenizerFast`; without a chat template a plain frame is used.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        if tokenizer.eos_token_id is None:
            raise UserError("tokenizer has no end-of-sequence token", where=str(tokenizer.name_or_path))
        self.vocab_size = len(tokenizer)
        self.end = int(tokenizer.eos_token_id)
        self.pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end)
        # <think> marks of some families are added tokens too, and are ours to sample.
        added = {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        self.special = frozenset(added - {self.end})
        self._between = self._find_between() if tokenizer.chat_template else None

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        kept = [i for i in ids if i != self.end]
        return str(
            self._tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def frame_opening(self, system: str, user: str) -> list[int]:
        if self._between is None:
            return self.encode(f"{system}\n\n{user}\nAction: ")
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return self.encode(self._render(messages))

    def frame_page(self, user: str, *, reply_ended: bool) -> list[int]:
        close = [] if reply_ended else [self.end]
        if self._between is None:
            return [*close, *self.encode(f"\n{user}\nAction: ")]
        before, after = self._between
        return [*close, *self.encode(before + user + after)]

    def save(self, folder: Path) -> None:
        tokenizer = copy.copy(self._tokenizer)
        if self._between is None:
            tokenizer.chat_template = _PLAIN_TEMPLATE
        tokenizer.save_pretrained(folder)

    def _render(self, messages: list[dict[str, str]]) -> str:
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _find_between(self) -> tuple[str, str]:
        """Template text from just after the end-of-reply token to the page, and from there on."""
        rendered = self._render(
            [
                {"role": "system", "content": "x"},
                {"role": "user", "content": _FIRST},
                {"role": "assistant", "content": _REPLY},
                {"role": "user", "content": _PAGE},
            ]
        )
        tail = rendered.split(_REPLY, 1)[1]
        end_text = self._tokenizer.convert_ids_to_tokens(self.end)
        if not tail.startswith(end_text):
            raise UserError(
                f"the chat template closes a reply with {tail[:20]!r}, not the end token {end_text!r}",
                where=str(self._tokenizer.name_or_path),
                remedy="set the tokenizer's eos_token to the token that ends a turn",
            )
        before, after = tail[len(end_text) :].split(_PAGE, 1)
        return before, after
