"""One episode in progress: the shop on one side, an append-only token sequence on the other."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from webshop_rl.config.schema import RolloutConfig
from webshop_rl.envs.types import EndReason, Goal, Page, Session, Step, kind_of, state_of
from webshop_rl.envs.words import instruction_words
from webshop_rl.interface.grammar import Encode, PageGrammar, Unspellable
from webshop_rl.interface.masks import TokenMask
from webshop_rl.interface.prompts import Prompter
from webshop_rl.interface.reply import AdmissibleReply, Ahead, FreeReply, Reply, ThinkingReply, spell
from webshop_rl.interface.views import View, identity
from webshop_rl.rollout.shaping import PartialCredit
from webshop_rl.rollout.types import Label, Segment, Trajectory, Turn

GRAMMARS_KEPT = 1024  # some 30 kB each on WebShop; a collection has fewer pages that differ

# From a goal, the pages so far and the actions between them to the next action; see envs.demonstrators.
Teacher = Callable[[Goal, Sequence[Page], Sequence[str]], str]


@dataclass(frozen=True)
class EpisodeSpec:
    """What fixes an episode.

    Attributes:
        goal: what is asked for.
        sample: its number within the goal's group.
        seed: of the shop's randomness and of the sampling.
        partial_credit: whether `rollout.shaping` is paid: in training, and to the reference whose returns
            training compares with; never in an evaluation.
    """

    goal: Goal
    sample: int
    seed: int
    partial_credit: bool = False


def episode_seed(*parts: object) -> int:
    """A 63-bit seed from anything printable; the same on every machine and in every process."""
    digest = hashlib.sha256("\0".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Episode:
    """An episode being played.

    `pending` holds the tokens the model has not read yet. The collector feeds them, samples where
    `mask` says there is a choice, and hands the token to `push`; forced tokens, pages and the
    shop's answers are dealt with here, so a finished episode never asks for another decision.

    Args:
        spec: goal and seeds.
        session: the shop's browser for this episode.
        prompter: pages to tokens.
        rollout: how replies are decoded.
        context_tokens: longest segment.
        keep_last_page: append the page after a truncation, cut to what is left of the context, where a
            critic may bootstrap from.
        teacher: asked on every page what to do there; its answers become the trajectory's labels.
    """

    def __init__(
        self,
        spec: EpisodeSpec,
        session: Session,
        prompter: Prompter,
        rollout: RolloutConfig,
        context_tokens: int,
        *,
        keep_last_page: bool = False,
        teacher: Teacher | None = None,
    ) -> None:
        self._teacher = teacher
        self._pages: list[Page] = []
        self._session = session
        self._prompter = prompter
        self._rollout = rollout
        self._context_tokens = context_tokens
        self._keep_last_page = keep_last_page
        pays = spec.partial_credit and rollout.shaping.kind != "none"
        self._credit = PartialCredit(rollout.shaping) if pays else None
        self._uniforms = np.random.Generator(np.random.Philox(key=spec.seed))
        self.trajectory = Trajectory(spec.goal, spec.sample, spec.seed)
        self.pending: list[int] = []
        self.restarted = False  # a new segment began: what the model has read of the old is void
        self.at_page = True  # pending ends with a page: no reply is under way
        self.finished = False
        self._reply_start = 0
        self._shown: dict[str, Hashable] = {}  # kind -> the last page of that kind in this segment
        self._past: list[str] = []  # what was done on each page, for segments of one turn
        self._begin_segment(session.reset_to(spec.goal, seed=spec.seed))

    @property
    def _turn(self) -> int:
        """The number of the turn that is or will be next, from 1."""
        return len(self.trajectory.turns) + 1

    @property
    def _segment(self) -> Segment:
        return self.trajectory.segments[-1]

    @property
    def shown(self) -> str:
        """The page to reply to, as the policy reads it."""
        return self._view.text

    def mask(self) -> TokenMask | None:
        """Decoding mask of the next token."""
        return self._reply.mask()

    def ahead(self) -> Ahead:
        """What decides the masks of the next tokens."""
        return self._reply.ahead()

    @property
    def transcript(self) -> Sequence[int]:
        """All tokens of the segment so far: what the next one is sampled after."""
        return self._segment.tokens

    def uniform(self) -> float:
        """The next draw of this episode's own random stream."""
        return float(self._uniforms.random())

    def push(self, token: int, logprob: float, mask: TokenMask | None) -> None:
        """Take a sampled token, and all that follows without a choice."""
        self.at_page = False
        self._append(token, logprob, mask, decision=True)
        self._run_forced()

    def follow(self) -> None:
        """Reply as the teacher would, and read what the shop answers; nothing is sampled.

        Raises: Unspellable if there is no such reply.
        """
        labels = self.trajectory.labels
        turn = len(self.trajectory.turns)
        if not labels or labels[-1].turn != turn:
            raise Unspellable("the page's grammar has no reply that asks for the teacher's action")
        label, said = labels[-1], len(self._segment.tokens) - self._reply_start
        for token, mask in list(zip(label.tokens, label.masks, strict=True))[said:]:
            self._append(token, 0.0, mask, decision=mask is None or mask.forced is None)
        self._answer()

    def _run_forced(self) -> None:
        while not self._reply.finished:
            mask = self._reply.mask()
            if mask is None or mask.forced is None:
                return
            self._append(mask.forced, 0.0, mask, decision=False)
        self._answer()

    def _append(self, token: int, logprob: float, mask: TokenMask | None, *, decision: bool) -> None:
        turn = len(self.trajectory.turns)
        self._segment.append_action(token, logprob, turn, mask, decision=decision)
        self.pending.append(token)
        self._reply.push(token)

    def _answer(self) -> None:
        """Send the finished reply to the shop and read its answer."""
        action = self._reply.action()
        step = self._session.step(action)
        penalty = 0.0 if action and step.applied else self._rollout.invalid_penalty
        credit = self._credit.earn(step.progress) if self._credit else 0.0
        tokens = self._segment.tokens[self._reply_start :]
        self.trajectory.turns.append(
            Turn(
                page=self._view.text,
                reply=self._prompter.codec.decode(tokens),
                action=action,
                reward=step.reward - penalty + credit,
                valid=bool(action) and step.applied,
                parts=dict(step.parts),
                kind=kind_of(action, self._view.page),
                page_kind=self._view.page.kind,
                asins=self._view.page.asins,
                chosen=dict(self._view.page.chosen),
                state=state_of(self._view.page),
            )
        )
        self._past.append(self._prompter.past_line(self._view, action))
        self.trajectory.num_replies_cut += self._reply.cut
        self.trajectory.score = step.score
        if step.terminated or step.truncated:
            self._end(step)
        else:
            self._read(step.page)

    def _end(self, step: Step) -> None:
        self._finish(EndReason.BOUGHT if step.terminated else EndReason.MAX_STEPS)
        self.trajectory.bought = next(iter(step.page.asins), "") if step.terminated else ""
        if step.truncated:
            self._keep_page(step.page)

    def _read(self, page: Page) -> None:
        """Append the next page, or deal with a transcript that outgrew the context."""
        if self._rollout.past_turns is not None:
            self._begin_segment(page)
            return
        view = self._prompter.view(page, self._shown, self._turn)
        tokens = self._prompter.page(view, reply_ended=not self._reply.cut)
        reply = self._new_reply(view)
        if len(self._segment.tokens) + len(tokens) + reply.max_tokens > self._context_tokens:
            if self._rollout.context_overflow == "drop_oldest":
                self._begin_segment(page)
            else:
                self._out_of_context(page)
            return
        self._segment.append_context(tokens)
        self.pending += tokens
        self._begin_reply(view, reply)

    def _begin_segment(self, page: Page) -> None:
        """Start a segment with its own prompt: the goal and the page shown now."""
        view = self._first_view(page)
        tokens = self._prompter.opening(view)
        reply = self._new_reply(view)
        if len(tokens) + reply.max_tokens > self._context_tokens:
            self._out_of_context(page)
            return
        self._shown = {}
        self.trajectory.segments.append(Segment())
        self.restarted = len(self.trajectory.segments) > 1
        self._segment.append_context(tokens)
        self.pending = list(tokens)
        self._begin_reply(view, reply)

    def _first_view(self, page: Page) -> View:
        first = max(0, len(self._past) - (self._rollout.past_turns or 0))
        return self._prompter.first_view(self.trajectory.goal, page, self._past[first:], self._turn)

    def _finish(self, end: EndReason) -> None:
        self.finished = True
        self.trajectory.end = end
        if self._credit and self.trajectory.turns:
            self.trajectory.turns[-1].reward += self._credit.settle()

    def _out_of_context(self, page: Page) -> None:
        self._finish(EndReason.CONTEXT)
        if self.trajectory.turns:
            self._keep_page(page)

    def _keep_page(self, page: Page) -> None:
        """The page after a truncation, as far as it fits; the policy never reads it."""
        if not self._keep_last_page:
            return
        if self._rollout.past_turns is not None:
            tokens = self._prompter.opening(self._first_view(page))
            if len(tokens) <= self._context_tokens:
                self.trajectory.segments.append(Segment())
                self._segment.append_context(tokens)
            return
        view = self._prompter.view(page, self._shown, self._turn)
        room = self._context_tokens - len(self._segment.tokens)
        self._segment.append_context(self._prompter.page_within(view, room, reply_ended=not self._reply.cut))

    def _begin_reply(self, view: View, reply: Reply) -> None:
        self._view = view
        self._shown[view.page.kind] = identity(view.page)
        self._reply = reply
        self.at_page = True
        self._reply_start = len(self._segment.tokens)
        if self._teacher is not None:
            self._ask(self._teacher, view)
        self._run_forced()

    def _ask(self, teacher: Teacher, view: View) -> None:
        """Note what the teacher would reply to the page."""
        self._pages.append(view.page)
        turns = self.trajectory.turns
        action = teacher(self.trajectory.goal, self._pages, [turn.action for turn in turns])
        try:
            tokens, masks = spell(self._new_reply(view), action)
        except Unspellable:
            self.trajectory.num_unspellable += 1
            return
        where = len(self.trajectory.segments) - 1, self._reply_start
        label = Label(len(turns), *where, action, kind_of(action, view.page), tokens, masks)
        self.trajectory.labels.append(label)

    def _new_reply(self, view: View) -> Reply:
        codec = self._prompter.codec
        rollout = self._rollout
        reply: Reply
        if rollout.decoding == "admissible":
            grammar = _grammar(
                codec.encode,
                codec.end,
                instruction_words(self.trajectory.goal.instruction),
                tuple(view.labels),
                view.page.can_search,
                rollout.max_query_words,
                rollout.queries == "window",
            )
            reply = AdmissibleReply(codec, grammar, view)
        else:
            reply = FreeReply(codec, view, rollout.max_reply_tokens)
        return ThinkingReply(codec, reply, rollout.max_think_tokens) if rollout.think else reply


@functools.lru_cache(maxsize=GRAMMARS_KEPT)
def _grammar(
    encode: Encode,
    end: int,
    words: tuple[str, ...],
    labels: tuple[str, ...],
    can_search: bool,
    max_words: int | None,
    window: bool,
) -> PageGrammar:
    """Pages recur (groups share a goal), and building their automata is most of the decoding's Python."""
    return PageGrammar(
        encode,
        end,
        words=words,
        targets=labels,
        can_search=can_search,
        max_words=max_words,
        window=window,
    )
