"""What a machine with a GPU does with real shapes: `python -m benchmarks.gpu [--shapes qwen2_5_0_5b ...]`.

Random weights in the shapes of conf/model's Qwen2.5, bfloat16, so that no hub is needed; each whole and with
LoRA adapters, with and without gradient checkpointing, as far as `sweep.dry_run` predicts that it fits:

    decode      tokens a second of 64 rows that hold a transcript, one token each a pass of the decoding cache
    learn       tokens a second of forward, backward and AdamW on packed segments, and as a share of what the
                chip reaches in a large product of matrices
    memory      GB of the GPU that a step took, beside what `sweep.dry_run` predicts
    gap         largest difference between log-probs of the decoding cache and of the learner's pass, nats

Then two processes learn on one GPU, beside one alone. Without a GPU it says so and ends with 2.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from benchmarks.options import configured
from webshop_rl.cli import command
from webshop_rl.config import register
from webshop_rl.errors import UserError
from webshop_rl.launching.dry_run import estimate
from webshop_rl.models.agent import add_lora
from webshop_rl.models.cache import DecodingCache
from webshop_rl.models.network import PolicyNetwork, ScoreInputs, decision_logprobs
from webshop_rl.models.prefix_tree import PrefixTree
from webshop_rl.models.shape import Shape, model_shape
from webshop_rl.training.optimiser import build_optimiser

SHAPES = ("qwen2_5_0_5b", "qwen2_5_1_5b", "qwen2_5_3b", "qwen2_5_7b")
SMALL = Shape(layers=2, hidden=64, feed_forward=128, key_value=32, vocabulary=512)  # for a look without a GPU
EVERY = 8  # one token of so many is a decision
GROUP = 8  # segments that share their first half


@dataclass(frozen=True)
class Case:
    """What is measured: a shape, how it is trained, and on how many tokens.

    Attributes:
        rows, length: transcripts decoded together, and tokens that each holds.
        tokens: of a micro-batch of learning.
    """

    name: str
    shape: Shape
    lora: bool
    checkpointing: bool
    rows: int = 64
    length: int = 1024
    tokens: int = 16384


def head_size(shape: Shape) -> int:
    """Of a Qwen2.5: 64 in the smallest, else 128."""
    return 16 if shape == SMALL else 64 if shape.hidden < 1024 else 128


def build(case: Case, device: torch.device) -> PolicyNetwork:
    """A policy of this shape with random weights in bfloat16."""
    shape, head = case.shape, head_size(case.shape)
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.hidden // head,
        num_key_value_heads=shape.key_value // head,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    with device:
        model: Any = Qwen2ForCausalLM(config).to(torch.bfloat16)
    if case.checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    if case.lora:
        model = add_lora(model, {"rank": 16, "alpha": 32.0, "target_modules": "all-linear"}, 0)
    return PolicyNetwork(model, shape.vocabulary).to(device)


def segments(case: Case) -> list[list[int]]:
    """Transcripts of learning, in groups that share their first half, which make `tokens` once packed."""
    generator = torch.Generator().manual_seed(1)

    def draw(number: int) -> list[int]:
        return torch.randint(case.shape.vocabulary, (number,), generator=generator).tolist()

    half = case.length // 2
    made: list[list[int]] = []
    while len(made) * half + -(-len(made) // GROUP) * half < case.tokens:
        prompt = made[-1][:half] if len(made) % GROUP else draw(half)
        made.append(prompt + draw(half))
    return made


def inputs_of(made: list[list[int]], device: torch.device) -> ScoreInputs:
    """Every EVERY-th token of a second half is a decision, without a mask."""
    length = len(made[0])
    places = [(row, at) for row in range(len(made)) for at in range(length // 2, length - 1, EVERY)]
    row, position = torch.tensor(places, device=device).T
    ids = torch.tensor(made, device=device)
    none = torch.zeros(0, dtype=torch.long, device=device)
    tree = PrefixTree.of(made, device)
    return ScoreInputs(ids, row, position, ids[row, position + 1], [None] * len(places), none, none, tree)


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """Of the fastest of some calls, after one that warms up."""
    best = float("inf")
    for repeat in range(1 + repeats):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        if repeat:
            best = min(best, time.perf_counter() - start)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def decode_rate(network: PolicyNetwork, case: Case, steps: int = 16) -> float:
    """Tokens a second."""
    network.eval()
    cache = DecodingCache(network, case.rows)
    cache.feed([[1] * case.length for _ in range(case.rows)], 0)
    one = [[2] for _ in range(case.rows)]

    def decode() -> None:
        for _ in range(steps):
            cache.feed(one, 0)
            cache.logits(list(range(case.rows))).argmax(dim=1).tolist()

    return steps * case.rows / seconds(decode, network.device)


def learn_rate(network: PolicyNetwork, inputs: ScoreInputs) -> tuple[float, float]:
    """(packed tokens a second, GB of the GPU in use, 0 without one) of a step."""
    assert inputs.tree is not None
    optim = configured([]).optim
    optimiser = build_optimiser(network, 1e-6, optim, 1.0)
    network.train()

    def step() -> None:
        network(inputs, 1.0).logprobs.sum().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    rate = inputs.tree.tokens.shape[1] / seconds(step, network.device)
    if network.device.type != "cuda":
        return rate, 0.0
    free, total = torch.cuda.mem_get_info()  # what the allocator took it keeps; with the context
    return rate, (total - free) / 1e9


@torch.no_grad()
def gap(network: PolicyNetwork, made: list[list[int]]) -> float:
    """Largest difference, nats, of a log-prob by the decoding cache, token by token, and by the learner."""
    network.eval()
    part = [segment[:48] for segment in made[:4]]
    inputs = inputs_of(part, network.device)
    learnt = network(inputs, 1.0).logprobs
    cache = DecodingCache(network, len(part))
    sampled: dict[tuple[int, int], Tensor] = {}
    for at in range(47):
        cache.feed([[segment[at]] for segment in part], 0)
        logprobs = decision_logprobs(cache.logits(list(range(len(part)))), [None] * len(part), 1.0)
        for row, segment in enumerate(part):
            sampled[row, at] = logprobs[row, segment[at + 1]]
    pairs = zip(inputs.row.tolist(), inputs.position.tolist(), strict=True)
    return max(abs(float(sampled[pair] - value)) for pair, value in zip(pairs, learnt, strict=True))


def chip_flops(device: torch.device) -> float:
    """Multiplications and additions a second in a large product of bfloat16 matrices."""
    size = 8192 if device.type == "cuda" else 256
    a = torch.randn(size, size, device=device).to(torch.bfloat16)
    return 2 * size**3 / seconds(lambda: a @ a, device)


def flops_of(case: Case) -> float:
    """Of a token in learning: forward, gradients of activations, and of the weights if they are trained."""
    return (4 if case.lora else 6) * case.shape.layers * case.shape.layer_parameters


def predicted(case: Case) -> float:
    """GB that `sweep.dry_run` predicts for learning; decoding is small here."""
    config = asdict(configured([f"model={SHAPES[0]}"]))
    config["model"] |= {
        "name": case.name,
        "path": "",
        "dtype": "bfloat16",
        "gradient_checkpointing": case.checkpointing,
    }
    config["model"]["lora"]["enabled"] = case.lora
    config["optim"]["micro_batch_tokens"] = case.tokens
    config["rollout"]["batch_size"] = 1
    found = estimate(config).gpu_gb
    return float("nan") if found is None else found


def line(case: Case, device: torch.device, peak: float) -> str:
    """One row of the table."""
    network = build(case, device)
    made = segments(case)
    decoded = decode_rate(network, case)
    apart = gap(network, made)
    _reference = None if case.lora else copy.deepcopy(network)  # as a run has it
    torch.cuda.empty_cache()
    rate, memory = learn_rate(network, inputs_of(made, device))
    share = rate * flops_of(case) / peak
    kind = f"{'LoRA' if case.lora else 'whole'}{', checkpointing' if case.checkpointing else ''}"
    return (
        f"{case.name:14s} {kind:22s} {decoded:9.0f} {rate:9.0f} {share:6.1%} "
        f"{memory:7.1f} {predicted(case):7.1f} {apart:8.4f}"
    )


def two_at_once(case: Case) -> list[str]:
    """Two processes that learn on one GPU, each as this command does."""
    again = [sys.executable, "-m", "benchmarks.gpu", "--learn-only", case.name]
    both = [subprocess.Popen(again, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return [process.communicate()[0].strip() for process in both]


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), help="default: all")
    parser.add_argument("--learn-only", choices=SHAPES, help="print the tokens a second of one, with LoRA")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        raise UserError("no GPU is visible: nothing was measured", where="benchmarks.gpu")
    register()
    device = torch.device("cuda")
    if options.learn_only:
        case = case_of(options.learn_only, lora=True, checkpointing=False)
        print(f"{learn_rate(build(case, device), inputs_of(segments(case), device))[0]:.0f}")
        return 0
    peak = chip_flops(device)
    total = torch.cuda.get_device_properties(device).total_memory / 1e9
    print(f"{torch.cuda.get_device_name(device)}, {total:.0f} GB; {peak / 1e12:.0f} TFLOP/s in bfloat16")
    print(f"{'':37s} {'decode/s':>9s} {'learn/s':>9s} {'chip':>6s} {'GB':>7s} {'predicted':>7s} {'gap':>8s}")
    for name in options.shapes:
        for lora in (True, False):
            for checkpointing in (True, False):
                case = case_of(name, lora=lora, checkpointing=checkpointing)
                if predicted(case) < total:
                    print(line(case, device, peak), flush=True)
                    torch.cuda.empty_cache()
                else:
                    print(f"{name}: would not fit ({predicted(case):.0f} GB)")
    first = case_of(options.shapes[0], lora=True, checkpointing=False)
    print(f"two processes on this GPU, {first.name}, tokens/s each: {', '.join(two_at_once(first))}")
    return 0


def case_of(name: str, *, lora: bool, checkpointing: bool) -> Case:
    """A case of one of SHAPES."""
    shape = model_shape({"name": name})
    assert shape is not None
    return Case(name, shape, lora, checkpointing)


if __name__ == "__main__":
    sys.exit(main())
