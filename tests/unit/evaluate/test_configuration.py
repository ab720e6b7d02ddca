"""What an evaluation is composed of: a run's own configuration with overrides on top, or the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.support.shop5_parts import composed
from webshop_rl.errors import UserError
from webshop_rl.evaluate.configuration import Request, configure, root_of, take_request
from webshop_rl.evaluate.target import Kind, Target

TINY = Target(Kind.MODEL, "tiny")


@pytest.fixture
def run(tmp_path: Path) -> Target:
    folder = tmp_path / "runs" / "0123456789ab"
    folder.mkdir(parents=True)
    cfg = composed("env.max_steps=6", "model.hidden_size=32", "rollout.max_query_words=3", "lr=1e-5")
    OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
    return Target(Kind.RUN, folder.name, folder)


def test_words_of_the_request_are_taken_out() -> None:
    words = ["split=val", "env=shop5", "episodes=7", "temperature=0.5", "root=x"]
    assert take_request(words) == (Request("val", 7, 0.5), ["env=shop5", "root=x"])
    assert take_request([])[0] == Request("test", 100, None)
    assert take_request(["episodes=all"])[0].episodes is None
    # A range of goals is played once through unless a number of episodes is given.
    assert take_request(["goals=0:400"])[0] == Request("test", None, None, (0, 400))
    assert take_request(["goals=0:4", "episodes=8"])[0].episodes == 8


@pytest.mark.parametrize(
    ("word", "where"),
    [
        ("split=dev", "split"),
        ("episodes=0", "episodes"),
        ("episodes=1.5", "episodes"),
        ("temperature=-1", "temperature"),
        ("temperature=nan", "temperature"),
        ("goals=4", "goals"),
        ("goals=4:4", "goals"),
        ("shop5", "shop5"),
    ],
)
def test_words_out_of_range(word: str, where: str) -> None:
    with pytest.raises(UserError) as caught:
        take_request([word])
    assert caught.value.where == where


def test_root_is_known_before_anything_is_composed() -> None:
    assert root_of(["env=shop5", "root=here"]) == Path("here")
    assert root_of([]) == Path("runs")


def test_a_run_is_what_it_was_with_overrides_on_top(run: Target) -> None:
    configured = configure(run, Request(temperature=0.5), ["rollout.decoding=free"])
    cfg = configured.cfg
    assert (cfg.env.max_steps, cfg.model.hidden_size, cfg.rollout.max_query_words) == (6, 32, 3)
    assert (cfg.rollout.decoding, cfg.evaluation.temperature) == ("free", 0.5)
    assert cfg.root == str(run.place.parent.parent)  # type: ignore[union-attr]
    assert cfg.hardware.device == "auto"
    assert (configured.home.env, configured.home.curriculum) == (cfg.env, cfg.curriculum)
    assert "lr" not in configured.fields  # what does not change the episodes does not name the evaluation
    assert configured.fields["rollout.decoding"] == "free"


def test_another_shop_leaves_the_home_of_the_run_as_it_was(run: Target) -> None:
    configured = configure(run, Request(), ["env.distractors=4"])
    assert (configured.cfg.env.distractors, configured.home.env.distractors) == (4, 0)
    configured = configure(run, Request(), ["env=shop5", "env.reward=binary"])
    assert (configured.cfg.env.max_steps, configured.cfg.env.reward) == (10, "binary")
    assert (configured.home.env.max_steps, configured.home.env.reward) == (6, "shaped")


def test_a_run_with_a_curriculum_is_played_on_its_stages_or_on_the_shop_that_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "c0ffee"
    folder.mkdir(parents=True)
    OmegaConf.save(composed("curriculum=stages6"), folder / "config.yaml", resolve=True)
    run = Target(Kind.RUN, folder.name, folder)
    own = configure(run, Request(), [])
    assert [stage["name"] for stage in own.cfg.curriculum.stages][::5] == ["stage1", "stage6"]
    assert "curriculum.stages" in own.fields
    assert "curriculum.window" not in own.fields
    elsewhere = configure(run, Request(), ["env=stage2"])
    assert (elsewhere.cfg.env.name, elsewhere.cfg.curriculum.stages) == ("stage2", [])
    assert elsewhere.home.curriculum == own.cfg.curriculum
    assert elsewhere.home.env.name == "stage6"
    with pytest.raises(UserError, match="does not read it"):
        configure(run, Request(), ["curriculum.replay=0.5"])


def test_a_model_starts_from_the_defaults() -> None:
    configured = configure(TINY, Request(), ["env.max_steps=4"])
    assert (configured.cfg.model.name, configured.cfg.env.max_steps) == ("tiny", 4)
    assert configured.home.env == configured.cfg.env


def test_the_temperature_counts_for_a_policy_that_has_one() -> None:
    scripted = Target(Kind.SCRIPTED, "rule")
    cold, warm = (configure(scripted, Request(temperature=t), []).fields for t in (0.0, 1.0))
    assert cold == warm
    assert not any(key.startswith(("model.", "rollout.")) for key in cold)
    cold, warm = (configure(TINY, Request(temperature=t), []).fields for t in (0.0, 1.0))
    assert cold != warm


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["env.foo=1"], "foo"),
        (["env.max_steps=0"], "env.max_steps: 0 is out of range"),
        (["rollout.decoding=loud"], "admissible, free"),
        (["rollout.temperature=abc"], "'abc' is not a number"),
        (["env=nowhere"], "nowhere"),
        (["model=tiny"], "model"),
        (["seed=3"], "^seed=3: an evaluation does not read it"),
        (["algo.kl_coef=1"], "^algo.kl_coef=1: an evaluation does not read it"),
        (["evaluation.test_episodes=3"], "^evaluation.test_episodes=3: an evaluation does not read it"),
        (["env=webshop", "env.data_dir=/does/not/exist"], "/does/not/exist"),
    ],
)
def test_overrides_that_do_not_fit_are_one_line(run: Target, overrides: list[str], said: str) -> None:
    for target in (run, TINY):
        with pytest.raises(UserError, match=said) as caught:
            configure(target, Request(), overrides)
        assert "\n" not in str(caught.value)


def test_a_run_brings_its_own_model_and_its_algorithm_has_ended(run: Target) -> None:
    with pytest.raises(UserError, match="brings its own model"):
        configure(run, Request(), ["model=tiny"])
    with pytest.raises(UserError, match=r"^algo=ppo: an evaluation does not read it"):
        configure(run, Request(), ["algo=ppo"])


def test_keys_of_speed_and_place_are_read_and_change_no_result(run: Target) -> None:
    places = ["rollout.batch_size=3", "hardware.threads=1", "tracking.traces=2", "rerun=true"]
    assert configure(run, Request(), places).fields == configure(run, Request(), []).fields


def test_a_run_of_other_code_is_told_as_such(run: Target) -> None:
    assert run.place is not None
    path = run.place / "config.yaml"
    path.write_text(path.read_text().replace("max_query_words:", "longest_query:"))
    with pytest.raises(UserError, match=r"made by other code.*longest_query"):
        configure(run, Request(), [])
