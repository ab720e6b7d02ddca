"""Packed segments: the same log-probs and gradients as segment by segment, and every token read once."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from tests.support.plain_network import plain_logits
from webshop_rl.models.network import PolicyNetwork, ScoreInputs
from webshop_rl.models.pointer import Pointer, Smear
from webshop_rl.models.prefix_tree import PrefixTree, num_distinct

CPU = torch.device("cpu")
VOCABULARY = 20
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def network(kind: str = "llama", *, copies: bool = False) -> PolicyNetwork:
    """A network with opinions: weights of order 1 / sqrt(inputs)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: nn.Module = (
            Qwen2ForCausalLM(Qwen2Config(**SHAPE))
            if kind == "qwen2"
            else LlamaForCausalLM(LlamaConfig(**SHAPE))
        )
        for parameter in model.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        pointer, smear = (Pointer(32, 0.3), Smear(32, 0.3)) if copies else (None, None)
        return PolicyNetwork(model, VOCABULARY, pointer=pointer, smear=smear).eval()


def segments(rng: random.Random) -> list[list[int]]:
    """Two prompts; continuations that part at any place, one that stops in another, two alike."""

    def tokens(number: int) -> list[int]:
        return [rng.randrange(VOCABULARY) for _ in range(number)]

    first, second = tokens(9), tokens(6)
    longer = first + tokens(7)
    made = [longer, longer[:12] + tokens(5), longer[:12] + tokens(1), longer[:4], first + tokens(3)]
    made += [second + tokens(8), second + tokens(8), list(longer)]
    rng.shuffle(made)
    return made


def inputs_of(made: list[list[int]], *, packed: bool) -> ScoreInputs:
    """Every token but the first of each segment is a decision."""
    places = [(s, at) for s, segment in enumerate(made) for at in range(len(segment) - 1)]
    row, position = torch.tensor(places).T
    length = max(map(len, made))
    ids = torch.tensor([segment + [0] * (length - len(segment)) for segment in made])
    none = torch.zeros(0, dtype=torch.long)
    tree = PrefixTree.of(made, CPU) if packed else None
    target = ids[row, position + 1]
    return ScoreInputs(ids, row, position, target, [None] * len(row), none, none, tree)


def test_the_drawing() -> None:
    a, b, c, d, e, f, g, h = range(8)
    tree = PrefixTree.of([[a, b, c, d, e], [a, b, f], [a, b, f, g, h]], CPU)
    assert tree.tokens.tolist() == [[a, b, c, d, e, f, g, h]]
    assert tree.positions.tolist() == [[0, 1, 2, 3, 4, 2, 3, 4]]
    assert tree.before.tolist() == [-1, 0, 1, 2, 3, 1, 5, 6]
    assert tree.place.tolist() == [[0, 1, 2, 3, 4], [0, 1, 5, 0, 0], [0, 1, 5, 6, 7]]
    assert tree.pieces == (2, 3, 1, 2)
    assert [(run.length, run.pieces) for run in tree.runs] == [(5, (0, 1)), (1, (0, 2)), (2, (0, 2, 3))]
    first, second, third = (run.mask for run in tree.runs)
    assert first is None  # causal
    assert second is None  # one token sees all
    assert third is not None
    assert third.tolist() == [[True] * 4 + [False], [True] * 5]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["llama", "qwen2", "copies"])
def test_log_probs_and_gradients_are_those_of_padded_segments(kind: str, seed: int) -> None:
    made = segments(random.Random(seed))
    policy = network(kind, copies=kind == "copies")
    weights = torch.randn(sum(map(len, made)) - len(made), generator=torch.Generator().manual_seed(seed))
    found: list[tuple[Tensor, dict[str, Tensor]]] = []
    for packed in (False, True):
        policy.zero_grad()
        logprobs = policy(inputs_of(made, packed=packed), 0.7).logprobs
        (logprobs * weights).sum().backward()
        gradients = {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}
        found.append((logprobs.detach(), gradients))
    (plain, plain_slopes), (logprobs, slopes) = found
    torch.testing.assert_close(logprobs, plain, rtol=0, atol=1e-5)
    assert slopes.keys() == plain_slopes.keys()
    for name, slope in plain_slopes.items():
        torch.testing.assert_close(slopes[name], slope, rtol=1e-4, atol=1e-4, msg=name)


def test_log_probs_are_those_of_a_segment_alone() -> None:
    made = segments(random.Random(5))
    policy = network(copies=True)
    inputs = inputs_of(made, packed=True)
    found = policy(inputs, 1.0).logprobs.detach()
    for s, segment in enumerate(made):
        expected = (
            plain_logits(policy, segment).log_softmax(-1)[:-1].gather(1, torch.tensor(segment[1:])[:, None])
        )
        torch.testing.assert_close(found[inputs.row == s].double(), expected.squeeze(1), rtol=0, atol=1e-4)


def test_every_token_is_read_once() -> None:
    made = segments(random.Random(1))
    tree = PrefixTree.of(made, CPU)
    beginnings = {tuple(segment[:end]) for segment in made for end in range(1, len(segment) + 1)}
    assert tree.tokens.shape == (1, len(beginnings))
    assert sum(tree.pieces) == sum(run.length for run in tree.runs) == len(beginnings) == num_distinct(made)


def test_an_empty_segment_beside_others_takes_no_place() -> None:
    assert PrefixTree.of([[], [3, 4], []], CPU).place.tolist() == [[0, 0], [0, 1], [0, 0]]


@pytest.mark.parametrize(
    "config",
    [
        Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=4, max_window_layers=1),
        Qwen2Config(**SHAPE, attn_implementation="eager"),
    ],
)
def test_other_attention_reads_padded_segments(config: Qwen2Config) -> None:
    policy = PolicyNetwork(Qwen2ForCausalLM(config), VOCABULARY)
    assert not policy.packs
    made = segments(random.Random(2))
    one, other = (policy(inputs_of(made, packed=packed), 1.0).logprobs for packed in (False, True))
    assert torch.equal(one, other)
