"""Trajectories to tensors: segments for the network, packed action tokens for the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from webshop_rl.interface.masks import TokenMask
from webshop_rl.models.network import ScoreInputs
from webshop_rl.models.prefix_tree import PrefixTree, num_distinct
from webshop_rl.rollout.types import Trajectory


@dataclass(frozen=True)
class Packed:
    """A micro-batch ready for the network, and where its outputs go.

    Attributes:
        inputs: what the network reads.
        shape: (b, T) of the packed action tokens.
        token_row, token_column: [A] place in [b, T] of each token that had an alternative; forced tokens
            and those of a nucleus of one stay 0.
        num_steps: steps the critic looks at: K turns, or T action tokens.
        value_row, value_column: place of each critic reading in [b, num_steps + 1]; the last column is
            the end of the last segment, read where an episode was truncated: the page after its last
            turn, or the last token of that turn if the context had no room for a page.
    """

    inputs: ScoreInputs
    shape: tuple[int, int]
    token_row: Tensor
    token_column: Tensor
    num_steps: int
    value_row: Tensor
    value_column: Tensor

    def tokens(self, flat: Tensor) -> Tensor:
        """[A] network outputs to [b, T], 0 elsewhere; differentiable."""
        return flat.new_zeros(self.shape).index_put((self.token_row, self.token_column), flat)

    def values(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Critic readings to ([b, num_steps] before each step, [b] of the last page)."""
        grid = flat.new_zeros((self.shape[0], self.num_steps + 1))
        grid = grid.index_put((self.value_row, self.value_column), flat)
        return grid[:, : self.num_steps], grid[:, self.num_steps]


def num_packed_tokens(trajectory: Trajectory) -> int:
    """Tokens that a trajectory adds to a packed forward pass, at most: others may share its prompt."""
    return num_distinct([segment.tokens for segment in trajectory.segments])


def num_padded_tokens(trajectories: Sequence[Trajectory]) -> int:
    """Tokens of a padded forward pass over these trajectories."""
    lengths = [len(segment.tokens) for t in trajectories for segment in t.segments]
    return max(lengths, default=0) * len(lengths)


def pack(
    trajectories: Sequence[Trajectory],
    *,
    num_tokens: int,
    num_turns: int,
    value_level: str = "turn",
    pad: int,
    device: torch.device,
) -> Packed:
    """Lay out trajectories for one forward pass.

    Args:
        num_tokens: T, at least the most action tokens of any of them.
        num_turns: K, at least the most turns of any of them.
        value_level: "turn": the critic reads before each turn | "token": before each action token.
        pad: id to pad with.
        device: where the tensors go.
    """
    # Every segment is a row of the forward pass; b says whose it is.
    segments = [(b, segment) for b, trajectory in enumerate(trajectories) for segment in trajectory.segments]
    # Where the network is read: a token is predicted at the position before it. Action tokens are counted
    # through all segments of a trajectory (columns), and so are its turns.
    per_token = value_level == "token"
    num_steps = num_tokens if per_token else num_turns
    decisions: list[tuple[int, int, int, int, int]] = []
    masks: list[TokenMask | None] = []
    readings: list[tuple[int, int, int, int]] = []
    columns = [0] * len(trajectories)
    for s, (b, segment) in enumerate(segments):
        for at, (token, is_action) in enumerate(zip(segment.tokens, segment.action, strict=True)):
            if not is_action:
                continue
            if per_token or not segment.action[at - 1]:
                step = columns[b] if per_token else segment.turns[at]
                readings.append((s, at - 1, b, step))
            mask = segment.masks.get(at)
            # A forced token has probability 1: nothing to compute, its place stays 0.
            if mask is None or mask.forced is None:
                decisions.append((s, at - 1, token, b, columns[b]))
                masks.append(mask)
            columns[b] += 1

    # What a truncated episode goes on with: V at the end of its last segment.
    for s, (b, segment) in enumerate(segments):
        is_last = s + 1 == len(segments) or segments[s + 1][0] != b
        if is_last and not trajectories[b].terminated:
            readings.append((s, len(segment.tokens) - 1, b, num_steps))

    # Nothing is computed behind the last place that is read; of nothing at all, one token.
    ends = [0] * len(segments)
    for s, at, *_ in (*decisions, *readings):
        ends[s] = max(ends[s], at + 1)
    if not any(ends):
        ends[0] = 1
    read = [segment.tokens[:end] for (_, segment), end in zip(segments, ends, strict=True)]
    ids = [tokens + [pad] * (max(ends) - len(tokens)) for tokens in read]

    row, position, target, token_row, token_column = _columns(decisions, 5, device)
    reading_row, reading_position, value_row, value_column = _columns(readings, 4, device)
    inputs = ScoreInputs(
        input_ids=torch.tensor(ids, device=device),
        row=row,
        position=position,
        target=target,
        masks=masks,
        value_row=reading_row,
        value_position=reading_position,
        tree=PrefixTree.of(read, device),
    )
    shape = (len(trajectories), num_tokens)
    return Packed(inputs, shape, token_row, token_column, num_steps, value_row, value_column)


def _columns(rows: Sequence[tuple[int, ...]], width: int, device: torch.device) -> list[Tensor]:
    if not rows:
        return [torch.zeros(0, dtype=torch.long, device=device) for _ in range(width)]
    return list(torch.tensor(rows, device=device).T.contiguous())
