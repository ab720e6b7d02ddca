"""TRL's rollouts repeat ours token for token, so their times can be compared (make test-peers)."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs TRL: make test-peers")

from benchmarks.decoding_speed import GROUP_SIZE, Setting, setting_of
from benchmarks.peer_rollouts import TrlRollouts, check_alike, measure
from webshop_rl.config import register
from webshop_rl.rollout.types import Trajectory


@pytest.fixture(scope="module")
def setting() -> Setting:
    register()
    return setting_of("shop5", ["env=shop5", "env.max_steps=4", "model.num_layers=1"], GROUP_SIZE)


@pytest.fixture(scope="module")
def played(setting: Setting) -> list[Trajectory]:
    return setting.acting.collector(setting.agent, setting.shop).collect(setting.specs, temperature=1.0)


def test_trl_plays_the_same_episodes(setting: Setting, played: list[Trajectory], tmp_path: Path) -> None:
    trl = TrlRollouts(setting, played, tmp_path)
    found = trl.collect()
    check_alike(played, found)
    for trajectory, tokens in zip(played, found, strict=True):
        # Behind the last reply stand the page that answers it and a reply without a call.
        assert len(tokens) > len(trajectory.segments[-1].tokens) + 1
        assert tokens[-1] == setting.agent.codec.end
    # It took a step for each token of the longest reply of a turn, forced or not, and one for the end.
    longest = [
        max(segment.turns.count(turn) for t in played for segment in t.segments)
        for turn in range(max(len(t.turns) for t in played))
    ]
    assert trl.script.num_steps == sum(longest) + 1
    scores = [environment.get_reward() for environment in trl.trainer.environments]
    assert scores == [trajectory.score for trajectory in played]


def test_another_episode_is_an_error(played: list[Trajectory]) -> None:
    theirs = [list(trajectory.segments[-1].tokens) for trajectory in played]
    check_alike(played, theirs)
    theirs[2][-1] += 1
    with pytest.raises(RuntimeError, match="the same episode"):
        check_alike(played, theirs)


def test_the_figure_is_printed(setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    ratio = measure(setting, 1)
    printed = capsys.readouterr().out
    assert "all alike" in printed
    assert f"TRL takes {ratio:.1f} times as long" in printed
