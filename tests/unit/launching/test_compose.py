from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf, open_dict

from webshop_rl.errors import UserError
from webshop_rl.launching.compose import Composer


@pytest.mark.parametrize(
    "overrides",
    [
        ["algo=apo_sft", "lr=5e-6", "seed=3"],
        ["lr=5e-6", "algo=ppo", "algo.kl_coef=0.5"],
        ["algo.kl_coef=0.5", "algo=apo_pg"],
        ["env.reward=score", "model.lora.enabled=true", "model.lora.target_modules=[q_proj,v_proj]"],
        ["model.lora={enabled: true, rank: 4}"],
        ["num_updates=${seed}", "seed=4"],
        ["+env.note=new", "seed=5"],
        ["++env.max_steps=3", "seed=5"],
        ["tracking=journal", "tracking.traces=2"],
    ],
)
def test_quick_composition_equals_hydras(composer: Composer, overrides: list[str]) -> None:
    slow = composer.loader.load_sweep_config(composer.master, overrides)
    with open_dict(slow):
        del slow["hydra"]
    for _ in range(2):  # the second comes from what the first has left
        quick = composer.compose(overrides)
        assert OmegaConf.to_container(quick, resolve=True) == OmegaConf.to_container(slow, resolve=True)
        assert list(quick) == list(slow)


def test_a_run_leaves_no_trace_in_the_next(composer: Composer) -> None:
    before = composer.run(["seed=1"])
    composer.run(["seed=1", "lr=0.5", "model.lora.rank=3"])
    assert composer.run(["seed=1"]) == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("lr=-1", "lr"),
        ("lr=high", "lr"),
        ("learning_rate=1", "learning_rate"),
        ("algo=nonsense", "nonsense"),
        ("env.max_steps=0", "env.max_steps"),
        ("num_updates=${nowhere}", "nowhere"),
    ],
)
def test_errors_name_the_override(composer: Composer, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        composer.run([override])


def test_paths_are_absolute_and_say_nothing_of_the_working_directory(
    composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = composer.run(["root=runs"])
    assert here.config["root"] == str(tmp_path / "runs")
    monkeypatch.chdir("/")
    assert composer.run(["root=runs"]).signature == here.signature
