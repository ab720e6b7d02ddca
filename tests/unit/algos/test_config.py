"""The configurations of the algorithms: complete, in range, and free of torch."""

import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, ValidationError

from tests.support.paths import CONF, REPOSITORY
from webshop_rl.algos.algorithm import Algorithm
from webshop_rl.algos.apo_pg.config import ApoPgConfig
from webshop_rl.algos.apo_pg.loss import ApoPg
from webshop_rl.algos.apo_reg.config import ApoRegConfig
from webshop_rl.algos.apo_reg.loss import ApoReg
from webshop_rl.algos.apo_sft.config import ApoSftConfig
from webshop_rl.algos.apo_sft.loss import ApoSft
from webshop_rl.algos.apo_square.config import ApoSquareConfig
from webshop_rl.algos.apo_square.loss import ApoSquare
from webshop_rl.algos.bc.config import BcConfig
from webshop_rl.algos.bc.loss import Bc
from webshop_rl.algos.gigpo.config import GigpoConfig
from webshop_rl.algos.gigpo.loss import Gigpo
from webshop_rl.algos.grpo.config import GrpoConfig
from webshop_rl.algos.grpo.loss import Grpo
from webshop_rl.algos.ppo.config import PpoConfig
from webshop_rl.algos.ppo.loss import Ppo
from webshop_rl.algos.rloo.config import RlooConfig
from webshop_rl.algos.rloo.loss import Rloo
from webshop_rl.errors import UserError

ALL = [
    ("apo_sft", ApoSftConfig, ApoSft),
    ("apo_pg", ApoPgConfig, ApoPg),
    ("apo_reg", ApoRegConfig, ApoReg),
    ("apo_square", ApoSquareConfig, ApoSquare),
    ("ppo", PpoConfig, Ppo),
    ("grpo", GrpoConfig, Grpo),
    ("gigpo", GigpoConfig, Gigpo),
    ("rloo", RlooConfig, Rloo),
    ("bc", BcConfig, Bc),
]


def _values(name: str) -> dict[str, Any]:
    loaded = OmegaConf.to_container(OmegaConf.load(CONF / "algo" / f"{name}.yaml"))
    assert isinstance(loaded, dict)
    assert loaded.pop("defaults") == [f"/base_algo_{name}", "_self_"]
    return {str(key): value for key, value in loaded.items()}


@pytest.mark.parametrize(("name", "config", "algorithm"), ALL)
def test_the_file_gives_every_field_a_value_and_builds(name: str, config: type, algorithm: type) -> None:
    values = _values(name)
    assert set(values) == {f.name for f in fields(config)} - {"_target_"}
    merged = OmegaConf.merge(OmegaConf.structured(config), values)
    assert merged._target_ == f"{algorithm.__module__}.{algorithm.__name__}"
    built: Algorithm = algorithm(**values)
    assert built.needs_critic == (name == "ppo")
    assert built.needs_vstar == name.startswith("apo")
    assert built.needs_states == (name == "gigpo")
    assert built.needs_teacher == (name == "bc")
    assert built.value_level == "turn"
    assert (built.num_epochs, built.num_minibatches) == (values["num_epochs"], values["num_minibatches"])


@pytest.mark.parametrize(("name", "config", "algorithm"), ALL)
def test_a_typo_or_a_wrong_type_is_refused(name: str, config: type, algorithm: type) -> None:
    schema = OmegaConf.structured(config)
    with pytest.raises(ConfigKeyError):
        OmegaConf.merge(schema, {"kl_coeff": 0.1})
    with pytest.raises(ValidationError):
        OmegaConf.merge(schema, {"group_size": "many"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kl_coef": -0.1}, "algo.kl_coef: -0.1 must be >= 0"),
        ({"kl_coef": float("nan")}, "algo.kl_coef"),
        ({"loss_norm": "mean"}, "algo.loss_norm: mean must be one of"),
        ({"group_size": 0}, "algo.group_size"),
        ({"adv_clip": 0.0}, "algo.adv_clip"),
    ],
)
def test_a_value_out_of_range_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ApoPg(**_values("apo_pg") | change)


@pytest.mark.parametrize(("name", "algorithm"), [("gigpo", Gigpo), ("grpo", Grpo), ("rloo", Rloo)])
def test_a_group_of_one_has_nothing_to_compare_with(name: str, algorithm: type) -> None:
    with pytest.raises(UserError, match=r"algo\.group_size: 1 must be >= 2"):
        algorithm(**_values(name) | {"group_size": 1})


def test_a_missing_value_is_refused() -> None:
    values = _values("apo_pg")
    del values["beta2"]
    with pytest.raises(UserError, match=r"algo\.beta2: is not set"):
        ApoPg(**values)


def test_what_an_algorithm_needs_follows_from_its_settings() -> None:
    quiet = {"kl_coef": 0.0, "entropy_coef": 0.0}
    assert not ApoSft(**_values("apo_sft") | quiet).needs_reference
    assert ApoSft(**_values("apo_sft") | quiet | {"kl_coef": 0.1}).needs_reference
    assert not ApoPg(**_values("apo_pg") | quiet | {"beta2": 0.0}).needs_reference
    assert ApoPg(**_values("apo_pg") | quiet | {"beta2": 0.1}).needs_reference
    assert not Ppo(**_values("ppo") | quiet).needs_entropy
    assert Ppo(**_values("ppo") | {"entropy_coef": 0.1}).needs_entropy
    assert Ppo(**_values("ppo") | {"level": "token"}).value_level == "token"


def test_configurations_import_no_torch() -> None:
    modules = [config.__module__ for _, config, _ in ALL]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
