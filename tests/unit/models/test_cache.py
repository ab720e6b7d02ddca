"""The decoding caches give what reading each transcript anew would give."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from tests.support.shop5_parts import build
from webshop_rl.models.cache import DecodingCache
from webshop_rl.models.row_cache import RowCache, decoding_cache
from webshop_rl.rollout.shared_cache import SharedCache

PARTS = build(sharpen=3.0)
NETWORK, PAD = PARTS.agent.network.eval(), PARTS.agent.codec.pad
ATOL = 1e-5


def read_anew(transcript: list[int]) -> Tensor:
    """[H] hidden state of the last token, without cache, padding or company."""
    with torch.no_grad():
        hidden: Tensor = NETWORK.hidden(
            input_ids=torch.tensor([transcript]), use_cache=False
        ).last_hidden_state
    return hidden[0, -1]


def compare(hidden: Tensor, transcripts: list[list[int]], pieces: list[list[int]]) -> None:
    for row, (transcript, piece) in enumerate(zip(transcripts, pieces, strict=True)):
        if piece:
            torch.testing.assert_close(hidden[row], read_anew(transcript), rtol=0, atol=ATOL)


def ragged(rng: random.Random, num_rows: int, longest: int) -> list[list[int]]:
    """Pieces of different lengths, some empty, not all of them."""
    pieces = [[rng.randrange(6, 90) for _ in range(rng.choice([0, 1, 1, longest]))] for _ in range(num_rows)]
    pieces[rng.randrange(num_rows)] = [rng.randrange(6, 90)]
    return pieces


@pytest.mark.parametrize("seed", range(4))
def test_ragged_feeds_with_rows_dropped_and_emptied(seed: int) -> None:
    rng = random.Random(seed)
    cache = DecodingCache(NETWORK, 5)
    transcripts: list[list[int]] = [[] for _ in range(5)]
    compacted = 0
    for step in range(25):
        if step in (8, 16):
            staying = sorted(rng.sample(range(len(transcripts)), len(transcripts) - 1))
            cache.keep(staying)
            transcripts = [transcripts[i] for i in staying]
        pieces = ragged(rng, len(transcripts), 12)
        if step == 0:
            pieces = [[rng.randrange(6, 90) for _ in range(3 + 2 * i)] for i in range(5)]
        if step in (5, 12, 20):
            row = rng.randrange(len(transcripts))
            cache.forget(row)
            transcripts[row], pieces[row] = [], [7, 8, 9]
        transcripts = [t + p for t, p in zip(transcripts, pieces, strict=True)]
        before = cache._filled.shape[1]
        compare(cache.feed(pieces, PAD), transcripts, pieces)
        compacted += cache._filled.shape[1] < before
        assert cache._filled.sum(dim=1).tolist() == [len(t) for t in transcripts]
        assert cache._length.tolist() == [len(t) for t in transcripts]
    assert compacted > 0
    assert cache.num_rows == 3


def test_holes_are_bounded() -> None:
    """One row at a time makes a hole in all others; what the cache holds stays near what it must."""
    cache = DecodingCache(NETWORK, 4)
    cache.feed([[7]] * 4, PAD)
    for step in range(160):
        cache.feed([[8] if row == step % 4 else [] for row in range(4)], PAD)
        assert cache._filled.shape[1] <= max(64, 1.4 * int(cache._length.max()))


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_their_own_are_kept_copied_and_emptied(seed: int) -> None:
    rng = random.Random(seed)
    cache = RowCache(NETWORK, 5)
    transcripts: list[list[int]] = [[] for _ in range(5)]
    for step in range(25):
        if step in (8, 16):
            # In another order, one of them twice: it goes on apart from its copy.
            staying = rng.sample(range(len(transcripts)), len(transcripts) - 1)
            staying.append(staying[0])
            cache.keep(staying)
            transcripts = [transcripts[i] for i in staying]
        pieces = ragged(rng, len(transcripts), 12)
        if step in (5, 12, 20):
            row = rng.randrange(len(transcripts))
            cache.forget(row)
            transcripts[row], pieces[row] = [], [7, 8, 9]
        transcripts = [t + p for t, p in zip(transcripts, pieces, strict=True)]
        compare(cache.feed(pieces, PAD), transcripts, pieces)
    assert cache.num_rows == 5


def test_only_new_tokens_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """No padding, and nothing for a row that waits."""
    read: list[int] = []
    plain = NETWORK.packed
    monkeypatch.setattr(
        NETWORK,
        "packed",
        lambda tokens, *rest, **fed: read.append(tokens.numel()) or plain(tokens, *rest, **fed),
    )
    cache = RowCache(NETWORK, 3)
    cache.feed([[7] * 9, [8] * 2, [9]], PAD)
    cache.feed([[], [8], []], PAD)
    assert read == [12, 1]


def test_the_cache_is_by_rows_on_a_cpu_where_the_network_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(decoding_cache(NETWORK, 1), RowCache)
    monkeypatch.setattr(NETWORK, "packs", False)
    assert isinstance(decoding_cache(NETWORK, 1), DecodingCache)


@pytest.mark.parametrize("kind", [DecodingCache, RowCache])
def test_buffers_grow_without_forgetting(kind: type[DecodingCache | RowCache]) -> None:
    """Long past the first room that was made for a layer."""
    cache = kind(NETWORK, 2)
    transcripts: list[list[int]] = [[], []]
    for step in range(60):
        pieces = [[6 + step], [7 + step]]
        transcripts = [t + p for t, p in zip(transcripts, pieces, strict=True)]
        hidden = cache.feed(pieces, PAD)
    compare(hidden, transcripts, pieces)


@pytest.mark.parametrize("seed", range(4))
def test_equal_transcripts_share_a_row_until_they_part(seed: int) -> None:
    rng = random.Random(seed)
    cache = SharedCache(NETWORK, 6)
    transcripts: list[list[int]] = [[] for _ in range(6)]
    start = [[7, 8, 9], [7, 8, 9], [10, 11]]
    shared = 0
    for step in range(14):
        if step == 6:
            staying = [0, 1, 3, 4]
            cache.keep(staying)
            transcripts = [transcripts[i] for i in staying]
        pieces = [[rng.randrange(6, 8)] * rng.choice([0, 1, 2]) for _ in transcripts]
        pieces[rng.randrange(len(pieces))] = [6]
        if step == 0:
            pieces = [start[i % 3] for i in range(6)]
        if step == 9:
            for transcript in (0, 2):
                cache.forget(transcript)
                transcripts[transcript], pieces[transcript] = [], [20, 21]
        transcripts = [t + p for t, p in zip(transcripts, pieces, strict=True)]
        hidden = cache.feed(pieces, PAD)
        compare(torch.stack([hidden[cache.row(i)] for i in range(len(pieces))]), transcripts, pieces)
        # Rows are shared only by equal transcripts.
        for i, one in enumerate(transcripts):
            for j, other in enumerate(transcripts):
                assert cache.row(i) != cache.row(j) or one == other
        shared += cache.num_rows < len(transcripts)
    assert shared > 1
