"""Which goals a whole run plays, for what and how: training goals to train and for V*, the rest to judge."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.shop5_parts import composed, run_here
from webshop_rl.build import build_shop
from webshop_rl.config.load import as_typed
from webshop_rl.envs.scripted import POLICIES
from webshop_rl.models.agent import Agent
from webshop_rl.models.network import PolicyNetwork
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.training.reference import Reference

# By their hash, mugs 100 and 101 train (as the shoes and the table of the catalogue do), 108 and 109
# validate, 107, 110 and 111 test.
MUGS = (100, 101, 107, 108, 109, 110, 111)
WRITE = Callable[[Path, dict[str, Any]], Path]


@dataclass(frozen=True)
class Call:
    """One collection: who played which goals, and how."""

    player: str
    goals: tuple[str, ...]
    temperature: float
    top_p: float


def overrides(data_dir: Path) -> list[str]:
    return [
        "env=webshop", f"env.data_dir={data_dir}", "env.num_products=null", "env.max_steps=3",
        "model.hidden_size=16", "model.num_layers=1", "model.num_heads=2", "model.context_tokens=1024",
        "num_updates=3", "algo.goals_per_update=3", "algo.group_size=2", "vstar.num_samples=2",
        "rollout.temperature=0.7", "rollout.top_p=0.9",
        "evaluation.every=1", "evaluation.val_episodes=2", "evaluation.test_episodes=3",
    ]  # fmt: skip


@pytest.fixture
def data_dir(tmp_path: Path, mini_files: dict[str, Any], write_catalogue: WRITE) -> Path:
    for number in MUGS:
        mini_files["items_ins_v2_1000.json"][f"B000000{number}"] = {
            "attributes": ["sturdy"],
            "instruction": f"Find me a sturdy mug {number}",
            "instruction_attributes": ["sturdy"],
        }
    return write_catalogue(tmp_path / "data", mini_files)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What is collected from here on, by whom."""
    made: list[Call] = []
    copies: list[PolicyNetwork] = []
    begin, collect = Reference.__init__, Collector.collect

    def begin_and_note(self: Reference, agent: Any) -> None:
        begin(self, agent)
        assert self._copy is not None
        copies.append(self._copy)

    def collect_and_note(
        self: Collector,
        specs: Sequence[EpisodeSpec],
        *,
        temperature: float,
        top_p: float = 1.0,
        agent: Agent | None = None,
        **others: Any,
    ) -> Any:
        network = (agent or self.agent).network
        player = "reference" if any(network is copy for copy in copies) else "policy"
        made.append(Call(player, tuple(spec.goal.id for spec in specs), temperature, top_p))
        return collect(self, specs, temperature=temperature, top_p=top_p, agent=agent, **others)

    monkeypatch.setattr(Reference, "__init__", begin_and_note)
    monkeypatch.setattr(Collector, "collect", collect_and_note)
    return made


def test_a_run_trains_validates_and_tests_on_the_goals_of_each_split(
    tmp_path: Path, data_dir: Path, calls: list[Call]
) -> None:
    shop = build_shop(as_typed(composed(*overrides(data_dir))).env)
    train, val, test = ({goal.id for goal in shop.goals(split)} for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (9, 2, 3)
    assert not train & val | val & test | train & test
    products = [{goal.asin for goal in shop.goals(split)} for split in ("train", "val", "test")]
    assert len(set.union(*products)) == sum(map(len, products))

    _, folder = run_here(tmp_path, "run", *overrides(data_dir))

    sampled = [call for call in calls if call.player == "policy" and call.temperature > 0]
    reference = [call for call in calls if call.player == "reference"]
    greedy = [call for call in calls if call.player == "policy" and call.temperature == 0]
    assert len(sampled) + len(reference) + len(greedy) == len(calls)

    # Three updates of three goals are one pass over the nine training goals, a group of two each.
    assert [len(call.goals) for call in sampled] == [6, 6, 6]
    assert Counter(goal for call in sampled for goal in call.goals) == dict.fromkeys(train, 2)
    # V* is of the same goals, two samples each, as the policy samples.
    assert Counter(goal for call in reference for goal in call.goals) == dict.fromkeys(train, 2)
    assert {(call.temperature, call.top_p) for call in sampled + reference} == {(0.7, 0.9)}
    # Untrained test; validation at updates 0 to 3; the one test at the end. All greedy.
    assert [sorted(call.goals) for call in greedy] == [sorted(test), *[sorted(val)] * 4, sorted(test)]
    assert {(call.temperature, call.top_p) for call in greedy} == {(0.0, 1.0)}
    # V* of each collection is sampled before the next collection, and nothing is played after the test.
    assert [c.player[0] + str(c.temperature) for c in calls] == [
        "p0.0", "p0.0", *["p0.7", "r0.7", "p0.0"] * 3, "p0.0",
    ]  # fmt: skip

    records = {
        file.stem: {json.loads(line)["goal"] for line in file.read_text().splitlines()}
        for file in (folder / "episodes").glob("*.jsonl")
    }
    assert records == dict.fromkeys(["test", "untrained", *(f"baseline_{name}" for name in POLICIES)], test)
    result = json.loads((folder / "result.json").read_text())
    assert "test goals (held-out products), 3 episodes, 3 goals of 3 products" in result["title"]
