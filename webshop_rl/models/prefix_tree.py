"""Segments packed without padding, what they begin with in common read once: learning's forward pass.

    segments   0: a b c d e     1: a b f     2: a b f g h
    packed        a b c d e           f              g h
    pieces        0 0 1 1 1           2              3 3
    run 1 is [f]: it attends to pieces 0 and 2; run 2 is [g h]: to pieces 0, 2 and 3

Trajectories of a group share their prompt, and a demonstrator's branches all that was played before them.
A run is what a segment adds to those before it. Each attends by itself, so nothing of the size
[tokens x tokens] is built; linear layers see all runs as one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

NAME = "sdpa_of_runs"  # under which transformers knows the attention below
# Causal attention through transformers' interface, to all that comes before; nothing else between tokens.
MODEL_TYPES = frozenset({"llama", "qwen2", "qwen3"})


@dataclass(frozen=True)
class Run:
    """Tokens that stand side by side and have the same past.

    Attributes:
        length: its tokens, n.
        pieces: of the packed tokens, those that it attends to; the last ones are its own.
        mask: [n, tokens of the pieces] bool, what each of its tokens sees; None: all up to itself.
    """

    length: int
    pieces: tuple[int, ...]
    mask: Tensor | None


@dataclass(frozen=True)
class PrefixTree:
    """S segments as N packed tokens.

    Attributes:
        tokens, positions: [1, N] ids, and places within their segments.
        before: [N] where the token before stands; -1 at the start of segments.
        place: [S, L] where each token of each segment stands; 0 beyond its end.
        pieces: their lengths; they sum to N.
        runs: in order; their lengths sum to N.
    """

    tokens: Tensor
    positions: Tensor
    before: Tensor
    place: Tensor
    pieces: tuple[int, ...]
    runs: tuple[Run, ...]

    @staticmethod
    def of(segments: Sequence[list[int]], device: torch.device) -> PrefixTree:
        """From the tokens of S segments, of which one at least is not empty."""
        # Sorted, a segment has most in common with the one just before it.
        places = [np.zeros(0, np.int64)] * len(segments)
        paths: list[NDArray[np.int64]] = []  # of each run: where it, and all that it attends to, stands
        starts = [0]
        last: list[int] = []
        last_place = np.zeros(0, np.int64)
        for row in sorted(range(len(segments)), key=segments.__getitem__):
            common = num_common(last, segments[row])
            end = starts[-1] + len(segments[row]) - common
            last_place = np.concatenate([last_place[:common], np.arange(starts[-1], end)])
            last = segments[row]
            places[row] = last_place
            if end > starts[-1]:
                starts.append(end)
                paths.append(last_place)

        tokens = np.zeros(starts[-1], np.int64)
        positions = np.zeros(starts[-1], np.int64)
        before = np.full(starts[-1], -1)
        place = np.zeros((len(segments), max(map(len, segments))), np.int64)
        for row, at in enumerate(places):
            tokens[at] = segments[row]
            positions[at] = np.arange(len(at))
            before[at[1:]] = at[:-1]
            place[row, : len(at)] = at

        # Cut where a run ends and where a path leaves one: each piece is on a path as a whole, or not at all.
        left = [path[:-1][np.diff(path) > 1] + 1 for path in paths]
        cuts = np.unique(np.concatenate([starts, *left]))
        runs = [
            _run(path, stop - start, cuts, device)
            for path, (start, stop) in zip(paths, pairwise(starts), strict=True)
        ]

        def tensor(found: NDArray[np.int64]) -> Tensor:
            return torch.from_numpy(found).to(device)

        return PrefixTree(
            tokens=tensor(tokens[None]),
            positions=tensor(positions[None]),
            before=tensor(before),
            place=tensor(place),
            pieces=tuple(np.diff(cuts).tolist()),
            runs=tuple(runs),
        )


class Held(Protocol):
    """Keys and values of a transcript in one layer, which grow by appending."""

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append [1, heads, n, d] to each; all that is held."""
        ...


@dataclass(frozen=True)
class FedRow:
    """Packed tokens that go on with a transcript which was read before: decoding's forward pass.

    Attributes:
        layers: keys and values of what was read, by layer.
        length: tokens that stand side by side, n.
        mask: [n, tokens of the transcript] bool, what each of them sees; None: all up to itself.
    """

    layers: Sequence[Held]
    length: int
    mask: Tensor | None

    @staticmethod
    def of(layers: Sequence[Held], past: int, length: int, device: torch.device) -> FedRow:
        """From the tokens read before, and those to read."""
        return FedRow(layers, length, _causal(past, length, device))


def num_common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many first tokens are the same."""
    shorter = min(len(a), len(b))
    return next((i for i in range(shorter) if a[i] != b[i]), shorter)


def num_distinct(segments: Sequence[list[int]]) -> int:
    """N of the segments' tree."""
    ordered = sorted(segments)
    return sum(map(len, ordered)) - sum(num_common(a, b) for a, b in pairwise(ordered))


def allow(causal_lm: Any) -> bool:
    """Have a model attend by runs where it is given a tree; False if what it computes is something else.

    It must attend through torch's scaled_dot_product_attention (model.attention=sdpa), to all tokens before.
    """
    config = causal_lm.config
    if config.model_type not in MODEL_TYPES or config._attn_implementation not in ("sdpa", NAME):
        return False
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return False
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    causal_lm.set_attn_implementation(NAME)
    return True


def _run(path: NDArray[np.int64], length: int, cuts: NDArray[np.int64], device: torch.device) -> Run:
    pieces = tuple(np.flatnonzero(np.isin(cuts[:-1], path)).tolist())
    return Run(length, pieces, _causal(len(path) - length, length, device))


def _causal(past: int, length: int, device: torch.device) -> Tensor | None:
    """What tokens see after such a past; None where attention without a mask is just that."""
    if not past or length == 1:
        return None
    return torch.ones(length, past + length, dtype=torch.bool, device=device).tril(past)


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    tree: PrefixTree | None = None,
    fed: Sequence[FedRow] | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' attention; with a tree or rows, by these on query, key and value [1, heads, N, d]."""
    if fed is not None:
        return _attend_rows(module, query, key, value, fed, **options), None
    if tree is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)  # type: ignore[no-any-return]
    # Split once: the gradients of what several runs attend to add up piece by piece.
    keys, values = (torch.split_with_sizes(held, list(tree.pieces), dim=2) for held in (key, value))
    queries = torch.split_with_sizes(query, [run.length for run in tree.runs], dim=2)
    attended = []
    for run, own in zip(tree.runs, queries, strict=True):
        seen = [torch.cat([held[i] for i in run.pieces], dim=2) for held in (keys, values)]
        attended.append(sdpa_attention_forward(module, own, *seen, run.mask, **options)[0])
    return torch.cat(attended, dim=1), None


def _attend_rows(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, fed: Sequence[FedRow], **options: Any
) -> Tensor:
    """Each row's new tokens attend to all of their row."""
    lengths = [row.length for row in fed]
    layer = int(vars(module)["layer_idx"])
    attended = []
    new = (torch.split_with_sizes(packed, lengths, dim=2) for packed in (query, key, value))
    for row, own, new_keys, new_values in zip(fed, *new, strict=True):
        keys, values = row.layers[layer].append(new_keys, new_values)
        attended.append(sdpa_attention_forward(module, own, keys, values, row.mask, **options)[0])
    return torch.cat(attended, dim=1)
