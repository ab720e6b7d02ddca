"""A word-level tokenizer made from the shop's own words; rare words are spelled out.

<bos> instruction : i want to buy red shoes <page> search <act> search [ red ] <end> <page> ... <act>
"""

from __future__ import annotations

import functools
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

PAD, UNK, BOS, END, PAGE, ACT = "<pad>", "<unk>", "<bos>", "<end>", "<page>", "<act>"
SPECIAL = (PAD, UNK, BOS, END, PAGE, ACT)
THINK = ("<think>", "</think>")
# Punctuation that actions are made of, and the page's separator, are always whole tokens.
ALWAYS = ("search", "click", "buy", "now", "back", "to", "instruction", "[", "]", ":", "$")
SEPARATOR = "[SEP]"
# Pages are made of parts that recur, titles and buttons; the separator between them is a token of its own.
PARTS_KEPT = 16384
# The frame below as a chat template: system texts are not read.
CHAT_TEMPLATE = (
    "{% set ns = namespace(opening='<bos>') %}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ ns.opening + m['content'] + '<act>' }}{% set ns.opening = '<page>' %}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + '<end>' }}{% endif %}{% endfor %}"
)


class TinyCodec:
    """Codec of the tiny model.

    Args:
        texts: every text the shop may show.
        max_vocabulary: size limit; the most frequent words are kept whole, ties in word order.
        furniture: texts whose words keep their names under a renaming: what pages say of themselves.
        whole: texts whose words are kept whole, however rare.

    Attributes:
        renameable: sorted ids of the words that a renaming may permute: whole words of letters, two or more.
    """

    def __init__(
        self,
        texts: Iterable[str],
        max_vocabulary: int,
        furniture: Iterable[str] = (),
        whole: Iterable[str] = (),
    ) -> None:
        normalizer = normalizers.Sequence(
            [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
        )
        splitter = pre_tokenizers.BertPreTokenizer()

        def words(text: str) -> list[str]:
            plain = normalizer.normalize_str(text.replace(SEPARATOR, " "))
            return [word for word, _ in splitter.pre_tokenize_str(plain)]

        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(words(text))
        characters = sorted({c for word in counts for c in word} | set(string.printable.strip().lower()))
        vocabulary = [*SPECIAL, *THINK, SEPARATOR, *ALWAYS]
        taken = set(vocabulary)
        for piece in [form for c in characters for form in (c, "##" + c)]:
            if piece not in taken:
                taken.add(piece)
                vocabulary.append(piece)
        for text in whole:
            for word in words(text):
                if word not in taken:
                    taken.add(word)
                    vocabulary.append(word)
        ranked = sorted((word for word in counts if word not in taken), key=lambda w: (-counts[w], w))
        vocabulary += ranked[: max(0, max_vocabulary - len(vocabulary))]

        ids = {word: i for i, word in enumerate(vocabulary)}
        self._tokenizer = Tokenizer(models.WordPiece(ids, unk_token=UNK, max_input_chars_per_word=100))
        self._tokenizer.normalizer = normalizer
        self._tokenizer.pre_tokenizer = splitter
        self._tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
        self._tokenizer.add_tokens([AddedToken(t, normalized=False) for t in (*SPECIAL, *THINK, SEPARATOR)])
        self._encode_part = functools.lru_cache(maxsize=PARTS_KEPT)(self._tokenize)
        self._ids = ids
        self.vocab_size = len(vocabulary)
        self.end = ids[END]
        self.pad = ids[PAD]
        self.special = frozenset(ids[token] for token in SPECIAL if token != END)
        kept = {*self.special, self.end, *self.encode(" ".join([*THINK, *ALWAYS, *furniture]))}
        renameable = [i for word, i in ids.items() if len(word) > 1 and word.isalpha() and i not in kept]
        self.renameable = np.array(sorted(renameable), dtype=np.int64)

    def encode(self, text: str) -> list[int]:
        first, *others = text.split(SEPARATOR)
        ids = list(self._encode_part(first))
        for part in others:
            ids.append(self._ids[SEPARATOR])
            ids += self._encode_part(part)
        return ids

    def _tokenize(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([i for i in ids if i != self.end], skip_special_tokens=False)

    def frame_opening(self, system: str, user: str) -> list[int]:
        # A model with random weights cannot read advice, so there is no system text.
        return [self._ids[BOS], *self.encode(user), self._ids[ACT]]

    def frame_page(self, user: str, *, reply_ended: bool) -> list[int]:
        close = [] if reply_ended else [self.end]
        return [*close, self._ids[PAGE], *self.encode(user), self._ids[ACT]]

    def save(self, folder: Path) -> None:
        from transformers import PreTrainedTokenizerFast

        PreTrainedTokenizerFast(
            tokenizer_object=self._tokenizer,
            bos_token=BOS,
            eos_token=END,
            pad_token=PAD,
            unk_token=UNK,
            additional_special_tokens=[PAGE, ACT],
            chat_template=CHAT_TEMPLATE,
            clean_up_tokenization_spaces=False,
        ).save_pretrained(folder)
