"""Text to tokens and back, and the frame of a transcript around pages and replies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Codec(Protocol):
    """What the platform needs of a tokenizer.

    Attributes:
        end: id of the end-of-reply token, sampled by the policy like any other.
        pad: id used for padding; never read by the model.
        special: ids that must not be sampled inside free text (pad, role marks), `end` aside.
        vocab_size: number of ids.
    """

    end: int
    pad: int
    special: frozenset[int]
    vocab_size: int

    def encode(self, text: str) -> list[int]:
        """Ids of text, without special tokens around it."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, for people and for the parser; never re-encoded."""
        ...

    def frame_opening(self, system: str, user: str) -> list[int]:
        """Start of a transcript up to the place where the first reply begins."""
        ...

    def frame_page(self, user: str, *, reply_ended: bool) -> list[int]:
        """What stands between a reply and the next: its close if it was cut, the page, a new opening."""
        ...


class StoredCodec(Codec, Protocol):
    """A codec that other libraries can load."""

    def save(self, folder: Path) -> None:
        """Write it for AutoTokenizer, with a chat template that makes the same frame."""
        ...


def vocabulary_digest(codec: Codec) -> str:
    """Digest of what each id stands for: weights learnt with one vocabulary mean nothing with another."""
    digest = hashlib.sha256()
    for token in range(codec.vocab_size):
        digest.update(f"{codec.decode([token])}\0".encode())
    return digest.hexdigest()[:16]
