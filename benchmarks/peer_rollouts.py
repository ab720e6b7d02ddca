"""Episodes a second beside TRL's: `.venv-peers/bin/python -m benchmarks.peer_rollouts [OVERRIDE ...]`.

TRL's GRPOTrainer is given environments that are the same shop (`environment_factory`: search and click are
its tools) and a copy of the same model. Its rollouts are timed, from the environments' reset to the rewards,
in turns with ours: the collector on the same episodes, in the same process, one thread. Figures are medians
of the processor's time.

Both play the same episodes, token for token, which is checked: goals, seeds, pages, prompts and replies. Left
to itself TRL would play others: nothing in it restricts replies to what a page admits, and an untrained model
calls no tool. So ours are played first, and TRL's generation is made to say the same: a logits processor lets
one token through, its time is taken off. What is compared is thus the loop, not the policy:

    collector      a key-value cache kept across turns, no step for a forced token, finished episodes leave
    TRL's rollout  one generate call a turn for all live episodes, padded on the left: each reads transcripts
                   anew, takes a step for every token and lasts until the longest reply has ended; replies are
                   decoded and parsed, pages go through the chat template. An episode's end shows in a reply
                   without a call: one more turn, here of the end token alone

The chat template is the collector's frame and lists no tools, so prompts are equally short.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from torch import Tensor

from benchmarks.decoding_speed import GROUP_SIZE, Setting, setting_of
from benchmarks.options import peer_parser, peer_shop
from webshop_rl.cli import command
from webshop_rl.config import register
from webshop_rl.errors import UserError
from webshop_rl.rollout.types import Trajectory

# What stands around a text of each role in a transcript of a model, and the end of a reply.
_FRAMES = {
    "tiny": {"user": ("<bos>", "<act>"), "tool": ("<page>", "<act>"), "assistant": ("", "<end>")},
    "smollm2_135m": {
        "system": ("<|im_start|>system\n", "<|im_end|>\n"),
        "user": ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
        "tool": ("\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
        "assistant": ("", "<|im_end|>"),
    },
}
# A call is rendered only to find what stands behind one: TRL never renders a transcript again.
_CALLS = (
    "{% for call in m['tool_calls'] or [] %}{{ call['function']['name'] + '[' }}"
    "{% for key, value in call['function']['arguments'].items() %}{{ key + ' ' + value }}{% endfor %}"
    "{{ ']' }}{% endfor %}"
)


def chat_template(name: str) -> str:
    """The frame of a model's transcripts, with calls and what answers them."""
    branches = ""
    for role, (before, after) in _FRAMES[name].items():
        calls = _CALLS if role == "assistant" else ""
        text = f"{{{{ {before!r} + m['content'] }}}}{calls}{{{{ {after!r} }}}}"
        branches += f"{{% if m['role'] == '{role}' %}}{text}{{% endif %}}"
    return f"{{% for m in messages %}}{branches}{{% endfor %}}"


def response_template(name: str) -> dict[str, Any]:
    """How TRL finds the call in a reply: search[TEXT] or click[TEXT]."""
    end = re.escape(_FRAMES[name]["assistant"][1])
    function = {"name": "{name}", "arguments": {"text": "{content}"}}
    return {
        "defaults": {"role": "assistant"},
        "start_anchor": _FRAMES[name]["user"][1],
        "fields": {
            "tool_calls": {
                "open_pattern": r"(?P<name>search|click)\s*\[",
                "close_pattern": rf"\](?=\s*{end})",
                "repeats": True,
                "content": "text",
                "transform": {"type": "function", "function": function},
            },
            "content": {"close_pattern": rf"{end}\s*", "content": "text"},
        },
    }


def squeezed(text: str) -> str:
    """A text without its spaces: one that is decoded from tokens has others ("4 . 5")."""
    return "".join(text.split())


class ShopEnvironment:
    """One episode's shop as TRL wants it: public methods are tools, their docstrings are read.

    Args:
        setting: shop, model and episodes.
        number: of the episode.
        searched: the words that were searched for, by their squeezed form.
    """

    def __init__(self, setting: Setting, number: int, searched: Mapping[str, str]) -> None:
        self._searched = searched
        self._spec = setting.specs[number % len(setting.specs)]
        self._session = setting.shop.session()
        self._prompter = setting.acting.prompter

    def reset(self, **row: Any) -> str:
        """Back to the first page."""
        page = self._session.reset_to(self._spec.goal, seed=self._spec.seed)
        self._view = self._prompter.first_view(self._spec.goal, page)
        self._score = 0.0
        return self._view.text

    def search(self, text: str) -> str:
        """Search the shop.

        Args:
            text: the words.
        """
        return self._step(f"search[{self._searched.get(squeezed(text), text.strip())}]")

    def click(self, text: str) -> str:
        """Click something on the page.

        Args:
            text: what is clicked.
        """
        shown = {squeezed(label): target for label, target in self._view.labels.items()}
        return self._step(f"click[{shown.get(squeezed(text), text)}]")

    def get_reward(self) -> float:
        """WebShop's score."""
        return self._score

    def _step(self, action: str) -> str:
        step = self._session.step(action)
        self._score = step.score
        self._view = self._prompter.view(step.page, {}, 0)
        return self._view.text


class Script:
    """A logits processor that lets through what was said in recorded trajectories, then the end token.

    Attributes:
        seconds: of the processor that it took.
        num_steps: forward passes that it was asked after.
    """

    def __init__(self, trajectories: Sequence[Trajectory], end: int, pad: int) -> None:
        self._end = end
        self._pad = pad
        self._replies: dict[tuple[int, ...], list[list[int]]] = defaultdict(list)
        for trajectory in trajectories:
            for before, reply in replies(trajectory):
                self._replies[tuple(before)].append(reply)
        self.seconds = 0.0
        self.num_steps = 0

    def begin(self, rows: list[list[int]]) -> None:
        """A generate call on such prompts, unpadded; equal ones are answered in the order of trajectories."""
        start = time.process_time()
        self._rows = []
        given = {before: deque(those) for before, those in self._replies.items()}
        for row in rows:
            waiting = given.get(tuple(row))
            self._rows.append(list(waiting.popleft()) if waiting else [self._end])
        self._said = 0
        self.seconds += time.process_time() - start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        start = time.process_time()
        tokens = [row[self._said] if self._said < len(row) else self._pad for row in self._rows]
        only = torch.full_like(scores, -torch.inf)
        only.scatter_(1, torch.tensor(tokens, device=scores.device)[:, None], 0.0)
        self._said += 1
        self.num_steps += 1
        self.seconds += time.process_time() - start
        return only


def replies(trajectory: Trajectory) -> list[tuple[list[int], list[int]]]:
    """Of each turn the tokens before it and its own."""
    segment = trajectory.segments[-1]
    found = []
    for turn in range(len(trajectory.turns)):
        start = segment.turns.index(turn)
        found.append((segment.tokens[:start], segment.tokens[start : start + segment.turns.count(turn)]))
    return found


class TrlRollouts:
    """TRL's trainer, whose rollouts can be had one after the other.

    Args:
        setting: shop, model and episodes.
        played: ours, which it is to repeat.
        folder: where it may write.
    """

    def __init__(self, setting: Setting, played: Sequence[Trajectory], folder: Path) -> None:
        from transformers import AutoTokenizer
        from trl import GRPOConfig, GRPOTrainer

        agent = setting.agent
        agent.codec.save(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = chat_template(agent.name)
        tokenizer.response_template = response_template(agent.name)
        model: Any = copy.deepcopy(agent.network.causal_lm)
        model.set_attn_implementation("sdpa")
        numbers = iter(range(sys.maxsize))
        actions = [turn.action for trajectory in played for turn in trajectory.turns]
        words = [action.removeprefix("search[").removesuffix("]") for action in actions]
        searched = {squeezed(text): text for text in words}
        self.trainer = GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            environment_factory=lambda: ShopEnvironment(setting, next(numbers), searched),
            args=GRPOConfig(
                output_dir=str(folder),
                use_cpu=True,
                bf16=False,
                report_to="none",
                gradient_checkpointing=False,
                max_steps=1,
                per_device_train_batch_size=len(setting.specs),
                num_generations=GROUP_SIZE,
                max_completion_length=agent.context_tokens,
                temperature=1.0,
            ),
        )
        system = {"role": "system", "content": setting.acting.prompter.system}
        self._rows = [{"prompt": [system, {"role": "user", "content": ""}]} for _ in setting.specs]
        self.script = Script(played, agent.codec.end, agent.codec.pad)
        self.generating = 0.0
        self._generate = self.trainer.model.generate
        self.trainer.model.generate = self._scripted

    def collect(self) -> list[list[int]]:
        """A rollout; the tokens of each episode, prompt and all."""
        self.trainer.model.train()
        found = self.trainer._generate_and_score_completions(self._rows)
        return [
            [*prompt[mask.bool()].tolist(), *reply[reply_mask.bool()].tolist()]
            for prompt, mask, reply, reply_mask in zip(
                found["prompt_ids"],
                found["prompt_mask"],
                found["completion_ids"],
                found["completion_mask"],
                strict=True,
            )
        ]

    def _scripted(self, input_ids: Tensor, attention_mask: Tensor, **options: Any) -> Any:
        self.script.begin(
            [row[mask.bool()].tolist() for row, mask in zip(input_ids, attention_mask, strict=True)]
        )
        start = time.process_time()
        out = self._generate(
            input_ids=input_ids, attention_mask=attention_mask, logits_processor=[self.script], **options
        )
        self.generating += time.process_time() - start
        return out


def check_alike(played: Sequence[Trajectory], theirs: Sequence[list[int]]) -> None:
    """Raises: RuntimeError if an episode of theirs is not ours, then a page and the end token."""
    for trajectory, tokens in zip(played, theirs, strict=True):
        ours = trajectory.segments[-1].tokens
        if tokens[: len(ours)] != ours or len(trajectory.segments) > 1:
            raise RuntimeError(f"TRL did not play the same episode of {trajectory.goal.instruction!r}")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of a call, and what it returned."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def measure(setting: Setting, repeats: int) -> float:
    """Print the figures; how many times as long TRL takes."""
    collector = setting.acting.collector(setting.agent, setting.shop)
    played = collector.collect(setting.specs, temperature=1.0)
    ours: list[float] = []
    theirs: list[float] = []
    generating: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        trl = TrlRollouts(setting, played, Path(folder))
        for _ in range(repeats):
            seconds, _ = timed(lambda: collector.collect(setting.specs, temperature=1.0))
            ours.append(seconds)
            trl.generating = trl.script.seconds = trl.script.num_steps = 0
            seconds, tokens = timed(trl.collect)
            theirs.append(seconds - trl.script.seconds)
            generating.append(trl.generating - trl.script.seconds)
            check_alike(played, tokens)
    num_turns = sum(len(trajectory.turns) for trajectory in played)
    num_tokens = sum(trajectory.num_action_tokens for trajectory in played)
    print(
        f"{setting.name}: {len(played)} episodes, {num_turns} turns, {num_tokens} tokens replied, all alike"
    )
    for name, each in (("collector", ours), ("TRL's rollout", theirs)):
        seconds = statistics.median(each)
        counts = {"episodes": len(played), "turns": num_turns, "tokens": num_tokens}
        rates = " ".join(f"{number / seconds:8.2f} {unit}/s" for unit, number in counts.items())
        print(f"  {name:14s} {seconds:7.2f} s {rates}")
    ratio = statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
    share = statistics.median(g / t for g, t in zip(generating, theirs, strict=True))
    print(f"  TRL takes {ratio:.1f} times as long: {share:.0%} in generate, {trl.script.num_steps} steps")
    return ratio


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = peer_parser(__doc__)
    parser.add_argument("--episodes", type=int, default=16, help=f"played at once, {GROUP_SIZE} a goal")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    register()
    shop = peer_shop(options.data_dir)
    setting = setting_of(shop[0].removeprefix("env="), [*shop, *options.overrides], options.episodes)
    if not importlib.util.find_spec("trl"):
        raise UserError(
            "TRL is not installed here",
            remedy="make .venv-peers/.ready, then run this with .venv-peers/bin/python",
        )
    measure(setting, options.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
