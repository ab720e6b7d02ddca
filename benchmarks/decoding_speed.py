"""How fast episodes are collected: `python -m benchmarks.decoding_speed [--data-dir FOLDER]`.

Beside the collector stands the usual loop, in the same process on the same episodes with the same network:
one generate call a turn for all live episodes, as a batch padded on the left. Within a call there is a
key-value cache, across calls none: each reads the whole transcripts anew, takes a step for every token,
forced or not, and lasts until its longest reply has ended. The third is that loop for one episode after the
other. All sample under the same grammar and play the same episodes to the same end, which is checked. Tiny
model, random weights. Times are medians of the one thread's processor time, which on an idle machine is the
clock's.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from transformers import DynamicCache

from benchmarks.options import configured, speed_parser
from webshop_rl.build import Acting, build_agent, build_shop
from webshop_rl.cli import command
from webshop_rl.config import register
from webshop_rl.envs.types import Shop
from webshop_rl.models.agent import Agent
from webshop_rl.models.sampling import choose
from webshop_rl.rollout.episode import Episode, EpisodeSpec
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.collection import goals_of, group_specs

GROUP_SIZE = 8


@dataclass(frozen=True)
class Setting:
    """A shop and a policy to play it."""

    name: str
    shop: Shop
    agent: Agent
    acting: Acting
    specs: list[EpisodeSpec]


class GenerateLoop:
    """The rival: full transcripts re-encoded each turn, one token a step, in step with the slowest."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._network = setting.agent.network
        self._pad = setting.agent.codec.pad

    @torch.no_grad()
    def collect(self, temperature: float) -> list[Trajectory]:
        self._network.eval()
        acting, agent = self._setting.acting, self._setting.agent
        everyone = [
            Episode(spec, self._setting.shop.session(), acting.prompter, acting.rollout, agent.context_tokens)
            for spec in self._setting.specs
        ]
        live = [episode for episode in everyone if not episode.finished]
        while live:
            self._turn(live, temperature)
            live = [episode for episode in live if not episode.finished]
        return [episode.trajectory for episode in everyone]

    def _turn(self, live: list[Episode], temperature: float) -> None:
        """What one call of generate does, for a batch."""
        prompts = [episode.trajectory.segments[-1].tokens for episode in live]
        longest = max(len(prompt) for prompt in prompts)
        ids = torch.tensor([[self._pad] * (longest - len(p)) + p for p in prompts])
        attention = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        positions = (attention.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache()
        queues: list[list[int]] = [[] for _ in live]
        waiting = [False] * len(live)
        for episode in live:
            episode.pending = []
        while True:
            hidden = self._network.hidden(
                input_ids=ids,
                attention_mask=attention,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
            self._sample(live, queues, waiting, hidden, temperature)
            if all(waiting):
                return
            step = [queue.pop(0) if queue else self._pad for queue in queues]
            ids = torch.tensor(step)[:, None]
            attention = torch.cat([attention, torch.ones(len(live), 1, dtype=torch.long)], dim=1)
            positions = positions[:, -1:] + 1

    def _sample(
        self,
        live: list[Episode],
        queues: list[list[int]],
        waiting: list[bool],
        hidden: Tensor,
        temperature: float,
    ) -> None:
        """Choose a token where one is due; forced ones queue up behind it."""
        due = [i for i, episode in enumerate(live) if not queues[i] and not waiting[i]]
        if not due:
            return
        logits = self._network.logits(hidden[due])
        masks = [live[i].mask() for i in due]
        uniforms = [live[i].uniform() for i in due]
        tokens, logprobs, masks = choose(logits, masks, uniforms, temperature=temperature)
        for i, token, logprob, mask in zip(due, tokens, logprobs, masks, strict=True):
            live[i].push(token, logprob, mask)
            waiting[i] = live[i].at_page or live[i].finished
            queues[i] = [] if waiting[i] else live[i].pending
            live[i].pending = []


def settings(data_dir: str | None, num_episodes: int) -> list[Setting]:
    """The five-product shop, and the real one if its data are named."""
    shops = [("shop5", ["env=shop5"])]
    if data_dir:
        shops.append(("webshop, 1,000 products", ["env=webshop", f"env.data_dir={Path(data_dir).resolve()}"]))
    return [setting_of(name, overrides, num_episodes) for name, overrides in shops]


def setting_of(name: str, overrides: Sequence[str], num_episodes: int) -> Setting:
    """A shop, an agent, and episodes of training goals, GROUP_SIZE a goal."""
    config = configured(overrides)
    shop = build_shop(config.env)
    agent = build_agent(config.model, shop, critic=False, device=torch.device("cpu"))
    goals = goals_of(shop.goals("train"), 0, max(1, num_episodes // GROUP_SIZE), 0)
    acting = Acting.of(config.rollout, config.view, agent)
    return Setting(name, shop, agent, acting, group_specs(goals, GROUP_SIZE, 0, 0))


def measure(setting: Setting, repeats: int) -> None:
    """Print the figures of one setting: medians of some repeats, taken in turns."""
    collector = setting.acting.collector(setting.agent, setting.shop)
    contestants: dict[str, Callable[[], list[Trajectory]]] = {
        "collector": lambda: collector.collect(setting.specs, temperature=1.0),
        "a generate call a turn": lambda: GenerateLoop(setting).collect(1.0),
        "one episode at a time": lambda: [
            trajectory
            for spec in setting.specs
            for trajectory in GenerateLoop(replace(setting, specs=[spec])).collect(1.0)
        ],
    }
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    played: dict[str, list[Trajectory]] = {}
    for _ in range(repeats):
        for name, collect in contestants.items():
            start = time.process_time()
            played[name] = collect()
            taken[name].append(time.process_time() - start)
    by_us, *others = played.values()
    same = min(
        sum(a.segments[-1].tokens == b.segments[-1].tokens for a, b in zip(by_us, theirs, strict=True))
        for theirs in others
    )
    num_tokens = sum(trajectory.num_action_tokens for trajectory in by_us)
    num_turns = sum(len(trajectory.turns) for trajectory in by_us)
    print(
        f"{setting.name}: {len(by_us)} episodes, {num_turns} turns, {num_tokens} tokens replied; {same} alike"
    )
    for name, each in taken.items():
        seconds = statistics.median(each)
        ratio = statistics.median(t / ours for t, ours in zip(each, taken["collector"], strict=True))
        rates = f"{num_tokens / seconds:8.0f} tokens/s {len(by_us) / seconds:8.1f} episodes/s"
        print(f"  {name:24s} {seconds:7.2f} s {rates}, {ratio:4.1f} times as long")
    # Sums in another order may tip a draw now and then; more than that is another policy.
    if same < 0.9 * len(by_us):
        raise RuntimeError("the two did not play the same episodes")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = speed_parser(__doc__, episodes="played at once")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    register()
    for setting in settings(options.data_dir, options.episodes):
        measure(setting, options.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
