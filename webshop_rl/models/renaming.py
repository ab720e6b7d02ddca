"""Words under other names: what is learnt is then to match words, not the words of the training products.

A renaming permutes the tokens of whole words among themselves. All else keeps its name: special tokens, what
pages and views say of themselves ("search", "buy now", "price"), pieces of spelled words, single characters,
numbers and punctuation.

    text      i want red shoes    search [ red ]     item 1 red boots $ 9
    tokens    i soft mug lamp     search [ mug ]     item 1 mug tray  $ 9
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from webshop_rl.interface.codec import Codec
from webshop_rl.interface.masks import TokenMask
from webshop_rl.models.tiny_codec import TinyCodec


@dataclass(frozen=True, eq=False)
class Renaming:
    """A permutation of token ids.

    Attributes:
        names: [V] the new id of each id.
        meanings: [V] the id that each new id stands for.
    """

    names: NDArray[np.int64]
    meanings: NDArray[np.int64]

    @staticmethod
    def draw(codec: TinyCodec, rng: np.random.Generator) -> Renaming:
        """One of all permutations of the codec's words, each as likely as any other."""
        names = np.arange(codec.vocab_size)
        names[codec.renameable] = rng.permutation(codec.renameable)
        return Renaming(names, np.argsort(names))

    def tokens(self, ids: Sequence[int]) -> list[int]:
        """Ids under their new names."""
        named: list[int] = self.names[np.asarray(ids, dtype=np.int64)].tolist()
        return named

    def original(self, ids: Sequence[int]) -> list[int]:
        """What renamed ids stand for."""
        meant: list[int] = self.meanings[np.asarray(ids, dtype=np.int64)].tolist()
        return meant

    def mask(self, mask: TokenMask | None) -> TokenMask | None:
        """The mask that lets the same words through, under their new names."""
        return None if mask is None else TokenMask(np.sort(self.names[mask.ids]), mask.complement)


class RenamedCodec:
    """A codec that writes and reads renamed tokens; texts are as they were.

    A prompter that has it plays a renamed shop.
    """

    def __init__(self, codec: Codec, renaming: Renaming) -> None:
        self._codec = codec
        self._renaming = renaming
        self.end = codec.end
        self.pad = codec.pad
        self.special = codec.special
        self.vocab_size = codec.vocab_size

    def encode(self, text: str) -> list[int]:
        return self._renaming.tokens(self._codec.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        return self._codec.decode(self._renaming.original(ids))

    def frame_opening(self, system: str, user: str) -> list[int]:
        return self._renaming.tokens(self._codec.frame_opening(system, user))

    def frame_page(self, user: str, *, reply_ended: bool) -> list[int]:
        return self._renaming.tokens(self._codec.frame_page(user, reply_ended=reply_ended))
