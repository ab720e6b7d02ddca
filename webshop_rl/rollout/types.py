"""The record of an episode: tokens in, tokens out.

A trajectory is a list of segments, each an append-only token sequence. Two turns of one segment:

    tokens   <prompt and page 0> search [ red ] <eos> <page 1> click [ 1 ] <eos> <page 2>
    action    0  0  0  0  0  0     1    1  1  1   1    0  0  0   1   1 1 1   1    0  0  0
    decision  0  0  0  0  0  0     1    0  1  1   0    0  0  0   1   0 1 0   0    0  0  0
    logprob   .  .  .  .  .  .   -2.1   0 -.7 -.1 0    .  .  .  -.2  0 -1 0   0    .  .  .
    turn                           0    0  0  0   0              1   1 1 1   1

A new segment starts where the transcript outgrew the context and old turns were dropped, or, under
rollout.history=window:K, at every turn; after a truncation the last one may be a page without a reply.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from webshop_rl.envs.types import EndReason, Goal
from webshop_rl.interface.masks import TokenMask


@dataclass
class Segment:
    """One append-only token sequence.

    Attributes:
        tokens: token ids.
        action: parallel flags, True at the tokens of the policy's replies.
        decision: parallel flags, True where more than one token was admissible. The other action tokens
            are forced: nothing was sampled. A nucleus (top_p) of one token is still a decision, the
            policy's own, so their number does not depend on how sharp the policy is.
        logprobs: parallel behaviour log-probs (temperature and mask applied), nats; 0.0 off action.
        turns: parallel turn index of action tokens; -1 elsewhere.
        masks: position -> decoding mask in force there; absent means every token was allowed.
    """

    tokens: list[int] = field(default_factory=list)
    action: list[bool] = field(default_factory=list)
    decision: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    masks: dict[int, TokenMask] = field(default_factory=dict)

    def append_context(self, tokens: list[int]) -> None:
        """Prompt or page text: tokens the policy reads and does not choose."""
        n = len(tokens)
        self.tokens += tokens
        self.action += [False] * n
        self.decision += [False] * n
        self.logprobs += [0.0] * n
        self.turns += [-1] * n

    def append_action(
        self, token: int, logprob: float, turn: int, mask: TokenMask | None, *, decision: bool = True
    ) -> None:
        """One token of a reply: sampled (a decision), or the only one admissible."""
        if mask is not None:
            self.masks[len(self.tokens)] = mask
        self.tokens.append(token)
        self.action.append(True)
        self.decision.append(decision)
        self.logprobs.append(logprob)
        self.turns.append(turn)


@dataclass
class Turn:
    """One model message and what it did.

    Attributes:
        page: the page the policy read before it replied (as rendered to it).
        reply: the reply as text, decoded for people; learning never uses it.
        action: the action sent to the shop, or "" if the reply held none.
        reward: the shop's reward plus the penalty for an invalid reply.
        valid: the reply parsed and the action applied.
        parts: parts of the reward.
        kind: what kind of decision the policy's reply was (envs.types.KINDS); of a labelled trajectory, the
            demonstrator's.
        page_kind, asins, chosen: kind, products and chosen options of the page, as envs.types.Page has them.
        state: all that the page shows (envs.types.state_of): the same for identical pages.
    """

    page: str
    reply: str
    action: str
    reward: float
    valid: bool
    parts: dict[str, float] = field(default_factory=dict)
    kind: str = "other"
    page_kind: str = ""
    asins: tuple[str, ...] = ()
    chosen: dict[str, str] = field(default_factory=dict)
    state: Hashable = ""


@dataclass(frozen=True)
class Label:
    """What a demonstrator would reply on a page that an episode reached.

    Attributes:
        turn: index of the page's turn.
        segment, start: where the reply to the page begins: index of the segment, position in it.
        action: as the shop names it.
        kind: what kind of decision it is (envs.types.KINDS).
        tokens: of the reply, its end included.
        masks: the decoding masks in force at them.
    """

    turn: int
    segment: int
    start: int
    action: str
    kind: str
    tokens: list[int]
    masks: list[TokenMask | None]


@dataclass
class Trajectory:
    """The record of one episode.

    Attributes:
        goal: what was asked.
        sample: index of this episode among those of its goal in this collection.
        seed: seed of the session (shuffles) and of the token sampling.
        score: WebShop's final reward in [0, 1]; 0 if nothing was bought.
        end: why the episode ended.
        bought: ASIN of what was bought, "" if nothing was.
        num_replies_cut: replies that hit the token limit without an end-of-reply token.
        labels: of a demonstrator, if one looked on: one for each page whose reply could be spelled.
        num_unspellable: pages for which no reply asks for the demonstrator's action.
        replayed: whether it is from an earlier collection, played back (training/replay.py).
    """

    goal: Goal
    sample: int
    seed: int
    segments: list[Segment] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    score: float = 0.0
    end: EndReason = EndReason.MAX_STEPS
    bought: str = ""
    num_replies_cut: int = 0
    labels: list[Label] = field(default_factory=list)
    num_unspellable: int = 0
    replayed: bool = False

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of the turns' rewards."""
        return float(sum(turn.reward for turn in self.turns))

    @property
    def success(self) -> bool:
        return self.score == 1.0

    @property
    def terminated(self) -> bool:
        """True if the episode ended by itself, False if it was cut off."""
        return self.end is EndReason.BOUGHT

    @property
    def num_action_tokens(self) -> int:
        return sum(sum(segment.action) for segment in self.segments)

    @property
    def num_decisions(self) -> int:
        """Action tokens that were not forced."""
        return sum(sum(segment.decision) for segment in self.segments)
