"""Every file of conf/ composes and holds; what a person mistypes is refused before any cost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tests.support.paths import CONF, REPOSITORY
from webshop_rl.config import register, validate
from webshop_rl.config.validate import with_data
from webshop_rl.config.walk import plain
from webshop_rl.errors import UserError

CHOSEN = {  # what the user must choose
    "model/pretrained": ("model.path=somebody/model",),
    "experiment/webshop_rl": ("init_from=somewhere",),
    "experiment/methods_webshop": ("init_from=somewhere",),
}
FILES = sorted(str(p.relative_to(CONF).with_suffix("")) for p in CONF.glob("*/*.yaml"))


@pytest.fixture(scope="module", autouse=True)
def _schemas() -> None:
    register()


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place of data that nothing looks into."""
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("file", FILES)
def test_every_file_composes_and_is_in_range(file: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever data and weights it names: validate looks at none."""
    group, option = file.split("/")
    monkeypatch.setenv("WEBSHOP_DATA_DIR", str(data))
    cfg = composed(f"{group}={option}", *CHOSEN.get(file, ()))
    validate(cfg)
    OmegaConf.resolve(cfg)
    if group not in ("experiment", "debug", "system"):
        assert OmegaConf.is_config(cfg[group])
        assert OmegaConf.get_type(cfg[group]) is not dict  # it has a schema


def _swept() -> list[tuple[str, str]]:
    """(experiment, override) of every file of a group that an experiment sweeps over."""
    found = []
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        params = yaml.safe_load(path.read_text()).get("hydra", {}).get("sweeper", {}).get("params", {})
        groups = {key: str(values).split(",") for key, values in params.items() if (CONF / key).is_dir()}
        found += [(path.stem, f"{key}={value.strip()}") for key, values in groups.items() for value in values]
    return found


@pytest.mark.parametrize(("experiment", "override"), _swept())
def test_every_arm_of_an_experiment_composes(
    experiment: str, override: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBSHOP_DATA_DIR", str(data))
    cfg = composed(f"experiment={experiment}", override, *CHOSEN.get(f"experiment/{experiment}", ()))
    validate(cfg)
    group, _, option = override.partition("=")
    assert group == "system" or cfg[group].name == option


@pytest.mark.parametrize("file", [f for f in FILES if not f.startswith(("experiment", "debug", "system"))])
def test_every_value_stands_in_its_file(file: str) -> None:
    """Schemas have no values that a reader of conf/ would not see."""
    group, option = file.split("/")
    schema = OmegaConf.structured(OmegaConf.get_type(composed(f"{group}={option}")[group]))
    shown = set(_keys(CONF / f"{file}.yaml"))
    hidden = {str(key) for key in schema} - shown - {"_target_"}
    assert not hidden


def _keys(path: Path) -> list[str]:
    content = yaml.safe_load(path.read_text())
    keys = [key for key in content if key != "defaults"]
    for entry in content.get("defaults", []):
        base = path.parent / f"{entry}.yaml"
        if isinstance(entry, str) and base.is_file():
            keys += _keys(base)
    return keys


def test_the_default_is_what_the_readme_says() -> None:
    cfg = composed()
    validate(cfg)
    assert (cfg.env.name, cfg.algo.name, cfg.model.name, cfg.hardware.name) == (
        "shop5",
        "apo_pg",
        "tiny",
        "cpu",
    )


@pytest.mark.parametrize(
    "override",
    [
        "lrr=1e-5",
        "rollout.temprature=1",
        "env.max_step=3",
        "algo.clip_epsilon=0.2",
        "model.lora.rnk=3",
        "hardware.gpuss=1",
        "tracking.url=x",
        "sweep.nme=x",
        "env=shop6",
        "num_updates=many",
        "num_updates=2.5",
        "lr=fast",
        "rollout.think=perhaps",
        "model.hidden_size=wide",
        "optim.beta1=[1]",
    ],
)
def test_a_typo_or_a_wrong_type_does_not_compose(override: str) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)):
        composed(override)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("lr=0", "lr"),
        ("lr=-1e-5", "lr"),
        ("lr=1", "lr"),
        ("lr=nan", "lr"),
        ("num_updates=-1", "num_updates"),
        ("seed=-1", "seed"),
        ("rollout.temperature=0", "rollout.temperature"),
        ("rollout.top_p=1.1", "rollout.top_p"),
        ("rollout.top_p=0", "rollout.top_p"),
        ("rollout.decoding=greedy", "rollout.decoding"),
        ("rollout.few_shot=3", "rollout.few_shot"),
        ("rollout.history=window", "rollout.history"),
        ("rollout.history=window:-1", "rollout.history"),
        ("rollout.queries=any", "rollout.queries"),
        ("rollout.max_query_words=0", "rollout.max_query_words"),
        ("view.pages=short", "view.pages"),
        ("view.option_tokens=0", "view.option_tokens"),
        ("rollout.context_overflow=forget", "rollout.context_overflow"),
        ("optim.schedule=step", "optim.schedule"),
        ("optim.grad_clip=0", "optim.grad_clip"),
        ("evaluation.test_episodes=0", "evaluation.test_episodes"),
        ("checkpoint.every=0", "checkpoint.every"),
        ("control=permuted", "control"),
        ("on_code_change=ignore", "on_code_change"),
        ("env.reward=sparse", "env.reward"),
        ("env.distractors=5", "env.distractors"),
        ("env.max_steps=0", "env.max_steps"),
        ("algo.group_size=0", "algo.group_size"),
        ("algo.adv_norm=rank", "algo.adv_norm"),
        ("model.lr_scale=0", "model.lr_scale"),
        ("model.lora.rank=0", "model.lora.rank"),
        ("model.dtype=float16", "model.dtype"),
        ("model.product_labels=name", "model.product_labels"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_range(override: str, key: str) -> None:
    with pytest.raises(UserError, match=rf"^{re.escape(key)}: .*(must be|not a number)") as caught:
        validate(composed(override))
    assert "\n" not in str(caught.value)


def test_goals_are_left_out_by_reference_returns_that_there_are() -> None:
    composed("vstar.min_spread=0.1", "algo=apo_sft")
    with pytest.raises(UserError, match=r"vstar\.min_spread: grpo samples no reference returns"):
        validate(composed("vstar.min_spread=0.1", "algo=grpo"))


def test_adapters_have_no_dropout() -> None:
    """The sampler draws none, so the learner would learn for another policy."""
    with pytest.raises(UserError, match=r"^model\.lora\.dropout: there is no such key"):
        validate(composed("+model.lora.dropout=0.1"))


def test_data_that_is_not_named_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEBSHOP_DATA_DIR", raising=False)
    cfg = composed("env=webshop")
    validate(cfg)
    with pytest.raises(UserError, match=r"data_dir"):
        with_data(plain(cfg))


def test_v_star_temperatures_of_0_and_infinity_are_values() -> None:
    for beta in ("0", "inf"):
        validate(composed(f"vstar.beta={beta}"))


def launch(*arguments: str, python: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """Exit code, output and error output of launch.py."""
    done = subprocess.run(
        [sys.executable, *python, str(REPOSITORY / "launch.py"), *arguments],
        capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("--cfg", "job", "--resolve")])
def test_help_and_config_answer_without_torch(arguments: tuple[str, ...]) -> None:
    code, output, imported = launch(*arguments, python=("-X", "importtime"))
    assert code == 0
    assert "rollout" in output
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in imported.splitlines()}
    assert "hydra" in loaded
    assert not loaded & {"torch", "transformers", "mlflow", "scipy", "accelerate", "submitit"}


def test_help_lists_the_groups() -> None:
    _, output, _ = launch("--help")
    for group in ("env", "algo", "model", "hardware", "tracking"):
        assert re.search(rf"^{group}: ", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("override", "exit_code", "expected"),
    [
        ("rollout.temperature=0", 2, r"^error: rollout\.temperature: 0\.0 is out of range \(must be > 0\)$"),
        ("rollout.temprature=1", 2, r"^error: .*did you mean rollout\.temperature\?\)$"),
    ],
)
def test_a_bad_command_is_one_line_and_a_code(
    tmp_path: Path, override: str, exit_code: int, expected: str
) -> None:
    code, _, error = launch(override, f"root={tmp_path}/runs")
    assert code == exit_code
    assert re.search(expected, error, re.MULTILINE)
    assert "Traceback" not in error
    assert not (tmp_path / "runs").exists()
