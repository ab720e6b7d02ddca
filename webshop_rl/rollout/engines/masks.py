"""The masks of a reply in another process: sent as plain data, followed token by token there.

An engine is asked for as many tokens as can be masked without asking the episode: by the page's grammar, or
by one mask all along. What it samples is given to the episode, which applies its own masks to every token.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from webshop_rl.interface.grammar import PageGrammar
from webshop_rl.interface.reply import Ahead
from webshop_rl.rollout.episode import GRAMMARS_KEPT, Episode


class Unmasked(ValueError):
    """An engine sampled what the episode's mask does not admit: it masked by something else."""


def plain_masks(ahead: Ahead, vocab_size: int) -> dict[str, Any]:
    """What FollowedMasks needs, as JSON has it.

    Args:
        ahead: of the reply.
        vocab_size: ids that the tokenizer knows; a model may have logits beyond.
    """
    plain: dict[str, Any] = {"vocab_size": vocab_size}
    if ahead.grammar is not None:
        return {**plain, "grammar": _plain_grammar(ahead.grammar), "said": list(ahead.said)}
    mask = ahead.mask
    if mask is not None:
        return {**plain, "ids": mask.ids.tolist(), "complement": mask.complement}
    return plain


class FollowedMasks:
    """The masks of one request.

    Args:
        plain: from plain_masks.
    """

    def __init__(self, plain: dict[str, Any]) -> None:
        self._vocab_size = plain["vocab_size"]
        self._complement = bool(plain.get("complement", True))
        self._ids = torch.tensor(plain.get("ids", []), dtype=torch.long)
        self._grammar = _grammar(plain["grammar"]) if "grammar" in plain else None
        self._num_read = 0
        if self._grammar is not None:
            self._state = self._grammar.start
            self._read(plain["said"])

    def __call__(self, output_ids: Sequence[int], logits: Tensor) -> Tensor:
        """Set what may not come next to -inf.

        Args:
            output_ids: all that was sampled for this request so far.
            logits: [V] of what comes next; changed in place.
        """
        if self._grammar is not None:
            self._read(output_ids[self._num_read :])
            self._num_read = len(output_ids)
            return _keep(logits, torch.from_numpy(self._grammar.mask(self._state).ids))
        if not self._complement:
            return _keep(logits, self._ids)
        logits[self._vocab_size :] = -torch.inf
        logits[self._ids.to(logits.device)] = -torch.inf
        return logits

    def _read(self, tokens: Sequence[int]) -> None:
        assert self._grammar is not None
        for token in tokens:
            self._state = self._grammar.advance(self._state, token)


def push_reply(episode: Episode, ahead: Ahead, tokens: Sequence[int], logprobs: Sequence[float]) -> int:
    """Give an episode what an engine sampled, as far as its masks are those that the engine applied.

    Args:
        episode: as it was when the engine was asked.
        ahead: what was asked.
        tokens: sampled, those that were forced among them.
        logprobs: of each, under the masks; nats.
    Returns: decisions made.
    Raises: Unmasked if a token is not what the episode's masks admit.
    """
    trajectory = episode.trajectory
    segment = trajectory.segments[-1]
    turn = len(trajectory.turns)
    at = len(segment.tokens)
    num_decisions = 0
    for token, logprob in zip(tokens, logprobs, strict=True):
        if at == len(segment.tokens):
            mask = episode.mask()
            if mask is not None and not mask.admits(token):
                raise Unmasked(f"the engine sampled token {token}, which the mask does not admit")
            episode.push(token, logprob, mask)
            num_decisions += 1
        elif segment.tokens[at] != token:
            raise Unmasked(f"the engine sampled token {token} where {segment.tokens[at]} is forced")
        at += 1
        if len(trajectory.turns) > turn or not _same_masks(episode.ahead(), ahead):
            break  # the reply is over, or goes on under masks that the engine knew nothing of
    return num_decisions


def _same_masks(now: Ahead, asked: Ahead) -> bool:
    return now.grammar is asked.grammar and (asked.grammar is not None or now.mask is asked.mask)


def _keep(logits: Tensor, ids: Tensor) -> Tensor:
    index = ids.to(logits.device)
    kept = logits[index]
    logits.fill_(-torch.inf)
    logits[index] = kept
    return logits


@functools.lru_cache(maxsize=GRAMMARS_KEPT)
def _plain_grammar(grammar: PageGrammar) -> str:
    return json.dumps(grammar.plain())


@functools.lru_cache(maxsize=GRAMMARS_KEPT)
def _grammar(plain: str) -> PageGrammar:
    """Pages recur: an automaton serves all requests at the same page."""
    return PageGrammar.of(json.loads(plain))
