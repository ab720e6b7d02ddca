"""Copying and smear: the learner and the decoding caches against sums written out, on random transcripts."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.plain_network import plain_logits
from tests.support.shop5_parts import Parts, build
from webshop_rl.interface.masks import everything_but, only
from webshop_rl.models import cache as cache_module
from webshop_rl.models import network as network_module
from webshop_rl.models.cache import DecodingCache
from webshop_rl.models.network import PolicyNetwork, ScoreInputs, decision_logprobs
from webshop_rl.models.row_cache import RowCache
from webshop_rl.rollout.shared_cache import SharedCache

COPY = ("model.pointer=true", "model.smear=true")
ATOL = 1e-5


@pytest.fixture(scope="module", params=["normal", "fan_in"])
def parts(request: pytest.FixtureRequest) -> Parts:
    # Sharpened so that places differ: with weights of 0.02 each is copied from alike.
    init: str = request.param
    return build(*COPY, f"model.init={init}", sharpen=8.0 if init == "normal" else 1.0)


@pytest.fixture(scope="module")
def network(parts: Parts) -> PolicyNetwork:
    return parts.agent.network.eval()


def transcript(rng: random.Random, length: int) -> list[int]:
    """Tokens of a small range, so that most stand at several places."""
    return [rng.randrange(6, 24) for _ in range(length)]


def inputs_of(rng: random.Random, segments: list[list[int]], *, shuffled: bool = False) -> ScoreInputs:
    """Decisions at random places of padded segments, some masked."""
    width = max(map(len, segments))
    decisions = [
        (row, at)
        for row, tokens in enumerate(segments)
        for at in range(len(tokens) - 1)
        if rng.random() < 0.4
    ]
    if shuffled:
        rng.shuffle(decisions)
    target = [segments[row][at + 1] for row, at in decisions]
    masks = [
        rng.choice([None, only({t, 7, 30}), everything_but({6, 8} - {t})]) for t in target
    ]  # 30 stands in no transcript
    row, position = torch.tensor(decisions).T
    none = torch.zeros(0, dtype=torch.long)
    ids = torch.tensor([tokens + [0] * (width - len(tokens)) for tokens in segments])
    return ScoreInputs(ids, row, position, torch.tensor(target), masks, none, none)


def assert_as_plain(network: PolicyNetwork, inputs: ScoreInputs, segments: list[list[int]]) -> None:
    outputs = network(inputs, 0.7, entropy=True)
    whole = [plain_logits(network, tokens) for tokens in segments]
    logits = torch.stack([whole[r][p] for r, p in zip(inputs.row, inputs.position, strict=True)])
    expected = decision_logprobs(logits, inputs.masks, 0.7)
    torch.testing.assert_close(
        outputs.logprobs.double(), expected.gather(1, inputs.target[:, None])[:, 0], rtol=0, atol=ATOL
    )
    spread = -(expected.exp() * expected.masked_fill(torch.isneginf(expected), 0)).sum(1)
    torch.testing.assert_close(outputs.entropy.double(), spread, rtol=0, atol=ATOL)


@pytest.mark.parametrize("seed", range(3))
def test_the_learner_reads_what_the_sums_give(
    network: PolicyNetwork, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    segments = [transcript(rng, rng.choice([2, 9, 30])) for _ in range(5)]
    assert_as_plain(network, inputs_of(rng, segments), segments)
    monkeypatch.setattr(network_module, "LOGIT_CHUNK", 7)
    assert_as_plain(network, inputs_of(rng, segments, shuffled=True), segments)


def test_copying_and_smear_matter(network: PolicyNetwork) -> None:
    """Else the comparisons above would compare nothing."""
    tokens = transcript(random.Random(0), 20)
    full = plain_logits(network, tokens)
    for name in ("pointer", "smear"):
        part = getattr(network, name)
        setattr(network, name, None)
        assert (plain_logits(network, tokens) - full).abs().max() > 0.1
        setattr(network, name, part)


@torch.no_grad()
def test_what_comes_later_is_neither_copied_nor_smeared(network: PolicyNetwork) -> None:
    rng = random.Random(1)
    tokens = transcript(rng, 20)
    decisions = [(0, at) for at in range(8)]
    row, position = torch.tensor(decisions).T
    found = []
    for later in (tokens[8:], [40] * 12, []):
        ids = torch.tensor([tokens[:8] + later])
        none = torch.zeros(0, dtype=torch.long)
        found.append(network(ScoreInputs(ids, row, position, row + 40, [None] * 8, none, none), 1.0).logprobs)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=ATOL)


def test_gradients_are_finite_and_the_same_when_logits_are_computed_again(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, rng = parts.agent.network, random.Random(2)
    inputs = inputs_of(rng, [transcript(rng, 25), transcript(rng, 7)])

    def gradients() -> dict[str, Tensor]:
        network.zero_grad()
        outputs: Any = network(inputs, 0.7, entropy=True)
        (outputs.logprobs.sum() + outputs.entropy.sum()).backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    kept = gradients()
    assert all(torch.isfinite(gradient).all() for gradient in kept.values())
    for name in ("pointer.query.weight", "pointer.key.weight", "smear.mix.weight"):
        assert kept[name].abs().max() > 0
    monkeypatch.setattr(network_module, "RECOMPUTE_ABOVE", 1)
    monkeypatch.setattr(network_module, "LOGIT_CHUNK", 5)
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, kept[name], rtol=1e-4, atol=1e-4)


def test_scores_far_apart_do_not_underflow(network: PolicyNetwork) -> None:
    """A masked-out token with a large score must not wash out the scores of those that are let through."""
    assert network.pointer is not None
    size = network.pointer.query.in_features
    keys = torch.zeros(1, 3, size)
    keys[0, :, 0] = torch.tensor([1000.0, 1.0, 2.0])
    copies = network.copies(keys, torch.tensor([[7, 8, 9]]))
    with torch.no_grad():
        weight = network.pointer.query.weight.clone()
        network.pointer.query.weight.copy_(torch.eye(size) * size**0.5)
        hidden = torch.zeros(1, size)
        hidden[0, 0] = 1.0
        row, seen = torch.zeros(1, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool)
        found = network.pointer(torch.full((1, 12), -50.0), hidden, copies, row, seen)
        network.pointer.query.weight.copy_(weight)
    assert found[0, 7:10].tolist() == pytest.approx([1000.0, 1.0, 2.0])
    assert found[0, 10].item() == -50.0


def compare(logits: Tensor, network: PolicyNetwork, transcripts: list[list[int]]) -> None:
    for row, tokens in zip(logits, transcripts, strict=True):
        torch.testing.assert_close(row.double(), plain_logits(network, tokens)[-1], rtol=0, atol=ATOL)


@pytest.mark.parametrize("kind", [DecodingCache, RowCache])
@pytest.mark.parametrize("seed", range(3))
def test_the_cache_copies_and_smears_through_drops_restarts_and_compaction(
    network: PolicyNetwork, seed: int, kind: type[DecodingCache | RowCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    cache = kind(network, 5)
    compacted = []
    reorder = cache_module._reordered
    monkeypatch.setattr(
        cache_module, "_reordered", lambda held, order: compacted.append(1) or reorder(held, order)
    )
    transcripts: list[list[int]] = [[] for _ in range(5)]
    for step in range(26):
        pieces = [transcript(rng, rng.choice([0, 1, 1, 12])) for _ in transcripts]
        pieces[rng.randrange(len(pieces))] = [7]
        if step == 0:
            pieces = [transcript(rng, 3 + 2 * i) for i in range(5)]
        if step in (8, 16):
            staying = rng.sample(range(len(transcripts)), len(transcripts) - 1)  # in another order, too
            cache.keep(staying)
            transcripts, pieces = [transcripts[i] for i in staying], [pieces[i] for i in staying]
            pieces[0] = [8]
        if step in (5, 12, 20):
            row = rng.randrange(len(transcripts))
            cache.forget(row)
            transcripts[row], pieces[row] = [], [7, 8, 9]
        transcripts = [t + p for t, p in zip(transcripts, pieces, strict=True)]
        cache.feed(pieces, 0)
        fed = [i for i, piece in enumerate(pieces) if piece]
        rng.shuffle(fed)
        compare(cache.logits(fed), network, [transcripts[i] for i in fed])
    assert compacted or kind is RowCache


@pytest.mark.parametrize("seed", range(3))
def test_transcripts_that_share_a_row_copy_from_their_own_after_they_part(
    network: PolicyNetwork, seed: int
) -> None:
    rng = random.Random(seed)
    cache = SharedCache(network, 6)
    transcripts: list[list[int]] = [[] for _ in range(6)]
    start, shared = [[7, 8, 9], [7, 8, 9], [10, 11]], 0
    for step in range(14):
        if step == 6:
            staying = [4, 0, 1, 3]
            cache.keep(staying)
            transcripts = [transcripts[i] for i in staying]
        pieces = [[rng.randrange(6, 8)] * rng.choice([0, 1, 2]) for _ in transcripts]
        pieces[rng.randrange(len(pieces))] = [6]
        if step == 0:
            pieces = [start[i % 3] for i in range(6)]
        if step == 9:
            for i in (0, 2):
                cache.forget(i)
                transcripts[i], pieces[i] = [], [20, 21]
        transcripts = [t + p for t, p in zip(transcripts, pieces, strict=True)]
        cache.feed(pieces, 0)
        fed = [i for i, piece in enumerate(pieces) if piece]
        compare(cache.logits(fed), network, [transcripts[i] for i in fed])
        shared += len({cache.row(i) for i in fed}) < len(fed)
    assert shared > 1


def test_a_micro_batch_without_a_decision_reaches_every_weight(parts: Parts) -> None:
    """Processes that average gradients wait for each of them."""
    network = parts.agent.network
    none = torch.zeros(0, dtype=torch.long)
    network.zero_grad()
    network(
        ScoreInputs(torch.tensor([[6, 7, 8]]), none, none, none, [], none, none), 1.0
    ).logprobs.sum().backward()
    found = {name: p.grad for name, p in network.named_parameters()}
    assert all(gradient is not None and (gradient == 0).all() for gradient in found.values())


def test_adapters_leave_what_copies_as_it_is() -> None:
    """With adapters off the network must be the reference policy again."""
    trained = [
        name
        for name, p in build(*COPY, "model.lora.enabled=true").agent.network.named_parameters()
        if p.requires_grad
    ]
    assert trained
    assert all("lora_" in name for name in trained)


def test_narrow_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = build(*COPY, "model.dtype=bfloat16", sharpen=1.0)
    network = parts.agent.network
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    trajectories = parts.collect(3)
    recorded = [p for t in trajectories for s in t.segments for p in s.logprobs]
    assert min(recorded) < 0
    rng = random.Random(0)
    segments = [transcript(rng, 12)]
    inputs = inputs_of(rng, segments)
    found = network(inputs, 1.0).logprobs
    assert found.dtype == torch.float32
    cache = DecodingCache(network, 1)
    for at, token in enumerate(segments[0]):
        cache.feed([[token]], 0)
        for i in (inputs.position == at).nonzero():
            log_p = decision_logprobs(cache.logits([0]), [inputs.masks[int(i)]], 1.0)[0, inputs.target[i]]
            torch.testing.assert_close(log_p, found[i], rtol=0, atol=0.05)


def test_fan_in_weights_have_outputs_of_order_one() -> None:
    small, large = (
        build(*COPY, f"model.init={init}", sharpen=1.0).agent.network for init in ("normal", "fan_in")
    )
    for (name, one), other in zip(small.named_parameters(), large.parameters(), strict=True):
        if one.dim() == 2:
            assert one.std().item() == pytest.approx(0.02, rel=0.2), name
            assert other.std().item() == pytest.approx(one.shape[1] ** -0.5, rel=0.2), name
