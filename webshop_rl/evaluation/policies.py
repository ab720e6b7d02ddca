"""What can be evaluated, through one interface: networks, trained or not, and scripted policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from webshop_rl.distributed.ranks import Ranks
from webshop_rl.envs.scripted import POLICIES, EpisodeRecord, run_episode
from webshop_rl.envs.types import EndReason, Shop, kind_of
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Trajectory, Turn

Play = Callable[[Sequence[EpisodeSpec]], list[Trajectory]]

_LABELS: Final = {"random": "random admissible", "first": "first result"}


@dataclass(frozen=True)
class Policy:
    """A policy to evaluate.

    Attributes:
        name: under which it is on record, the prefix of its metrics: "test", "untrained", "baseline/rule".
        label: what tables call it.
        play: plays episodes; the trajectories in their order, in every rank.
    """

    name: str
    label: str
    play: Play


def play_network(
    collector: Collector, specs: Sequence[EpisodeSpec], temperature: float, ranks: Ranks
) -> list[Trajectory]:
    """Episodes of the network that a collector samples from, each rank a share of them."""
    share = ranks.share(specs)
    return ranks.gather_from(lambda: collector.collect(share, temperature=temperature))


def scripted_policy(name: str, shop: Shop) -> Policy:
    """A scripted policy of envs/scripted.py, by its name."""
    return Policy(
        f"baseline/{name}",
        _LABELS.get(name, name),
        lambda specs: [_scripted_episode(name, shop, spec) for spec in specs],
    )


def scripted_policies(shop: Shop) -> list[Policy]:
    """All of them: what any agent must beat."""
    return [scripted_policy(name, shop) for name in POLICIES]


def _scripted_episode(name: str, shop: Shop, spec: EpisodeSpec) -> Trajectory:
    return scripted_trajectory(spec, run_episode(shop.session(), POLICIES[name](), spec.goal, spec.seed))


def scripted_trajectory(spec: EpisodeSpec, record: EpisodeRecord) -> Trajectory:
    """What a scripted policy did, as a trajectory without tokens."""
    turns = [
        Turn(
            page=page.text,
            reply=action,
            action=action,
            reward=step.reward,
            valid=step.applied,
            parts=dict(step.parts),
            kind=kind_of(action, page),
            page_kind=page.kind,
            asins=page.asins,
            chosen=dict(page.chosen),
        )
        for page, action, step in zip(record.pages, record.actions, record.steps, strict=False)
    ]
    return Trajectory(
        spec.goal,
        spec.sample,
        spec.seed,
        turns=turns,
        score=record.score,
        end=record.end,
        bought=next(iter(record.pages[-1].asins), "") if record.end is EndReason.BOUGHT else "",
    )
