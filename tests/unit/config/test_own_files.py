"""Mistakes in files that a person adds: one line that names the file, the key and the remedy; exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.support.own_checkout import OwnCheckout
from tests.support.paths import CONF, REPOSITORY

RLOO = (CONF / "algo" / "rloo.yaml").read_text(encoding="utf-8")
OWN = RLOO.replace("base_algo_rloo", "base_algo_own").replace("name: rloo", "name: own")
IMPORTS = "from dataclasses import dataclass\nfrom webshop_rl.algos.config import GroupAlgoConfig\n"
TARGET = '_target_: str = "webshop_rl.algos.own.loss.Own"'
NO_SCHEMA = "conf/algo/own.yaml: defaults: base_algo_own is made by webshop_rl/algos/own/config.py, which "
ROOMS = sorted(path.parent.name for path in (REPOSITORY / "webshop_rl" / "algos").glob("*/config.py"))
SCHEMAS = ", ".join(f"base_algo_{room}" for room in ROOMS)
MACHINES = ", ".join(sorted({*(path.stem for path in (CONF / "hardware").glob("*.yaml")), "lab"}))


def inheriting(rest: str) -> str:
    return f"defaults: [slurm_gpu, _self_]\nname: lab\n{rest}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> OwnCheckout:
    return OwnCheckout(tmp_path / "checkout")


def refused(checkout: OwnCheckout, *words: str) -> str:
    """What is printed for a bad input."""
    done = checkout.run("launch.py", *words, "sweep.dry_run=true")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.removeprefix("error: ").strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            inheriting("slurm: {partitoin: a100}"),
            "conf/hardware/lab.yaml: hardware.slurm.partitoin: there is no such key "
            "(did you mean partition?)",
        ),
        (
            inheriting("colour: red"),
            "conf/hardware/lab.yaml: hardware.colour: there is no such key "
            "(there are device, executor, max_parallel, name, restarts, slurm, strategy, threads)",
        ),
        (
            inheriting("slurm: {nodes: some}"),
            "conf/hardware/lab.yaml: hardware.slurm.nodes: "
            "'some' is not a whole number (correct it in this file)",
        ),
        (
            inheriting("slurm: 5"),
            "conf/hardware/lab.yaml: 5 (int) stands where keys belong (KEY: VALUE of SlurmConfig)",
        ),
        (
            inheriting("slurm: {setup: [module load cuda}"),
            "conf/hardware/lab.yaml, line 3: not valid YAML: expected ',' or ']', but got '}' "
            "(KEY: VALUE; brackets closed, blanks before a key as many as its neighbours have)",
        ),
        (
            "defaults: 5\nname: lab\n",
            "conf/hardware/lab.yaml: defaults must be a list (got int) (defaults: [PARENT, _self_])",
        ),
        (
            "defaults: [slurm_gpux, _self_]\nname: lab\n",
            f"conf/hardware/lab.yaml: defaults: there is no hardware/slurm_gpux (there are {MACHINES})",
        ),
    ],
)
@pytest.mark.parametrize("several", [[], ["-m", "seed=0,1"]])
def test_a_machine(checkout: OwnCheckout, several: list[str], text: str, message: str) -> None:
    checkout.write("conf/hardware/lab.yaml", text)
    assert refused(checkout, *several, "hardware=lab") == message


@pytest.mark.parametrize(
    ("config", "yaml", "message"),
    [
        (
            None,
            OWN,
            f"{NO_SCHEMA}does not exist (docs/architecture.md shows one; there are {SCHEMAS})",
        ),
        (
            f"{IMPORTS}@dataclass\nclass OwnConfig(GroupAlgoConfig):\n    x: int = 1\n",
            OWN,
            f"{NO_SCHEMA}has no dataclass with a _target_ "
            f"(docs/architecture.md shows one; there are {SCHEMAS})",
        ),
        (
            f"{IMPORTS}class OwnConfig(GroupAlgoConfig):\n    {TARGET}\n",
            OWN,
            "webshop_rl/algos/own/config.py: OwnConfig is not a dataclass (write @dataclass above its class)",
        ),
        (
            f"{IMPORTS}class OwnConfig(GroupAlgoConfig:\n",
            OWN,
            "webshop_rl/algos/own/config.py, line 3: cannot be imported: SyntaxError: invalid syntax",
        ),
        (
            "x = 1\nfrom webshop_rl.algos.config import NoSuch\n",
            OWN,
            "webshop_rl/algos/own/config.py, line 2: cannot be imported: ImportError: "
            "cannot import name 'NoSuch' from 'webshop_rl.algos.config' (",
        ),
        (
            f"{IMPORTS}@dataclass\nclass OwnConfig(GroupAlgoConfig):\n    {TARGET}\n",
            OWN.replace("group_size: 8 ", "# "),
            "algo.group_size: a value is missing "
            "(give it one in conf/algo/own.yaml, or here: algo.group_size=...)",
        ),
        (
            f"{IMPORTS}@dataclass\nclass OwnConfig(GroupAlgoConfig):\n    {TARGET}\n",
            f"{OWN}kl_coeff: 1.0\n",
            "conf/algo/own.yaml: algo.kl_coeff: there is no such key (did you mean kl_coef?)",
        ),
    ],
)
def test_an_algorithm(checkout: OwnCheckout, config: str | None, yaml: str, message: str) -> None:
    if config is not None:
        checkout.write("webshop_rl/algos/own/config.py", config)
    checkout.write("conf/algo/own.yaml", yaml)
    assert refused(checkout, "algo=own").startswith(message)


def test_a_missing_value_is_sought_in_the_file_chosen_in_a_sweep(checkout: OwnCheckout) -> None:
    checkout.write("conf/algo/rloo_bare.yaml", RLOO.replace("group_size: 8 ", "# "))
    message = "give it one in conf/algo/rloo_bare.yaml, or here: algo.group_size=..."
    assert message in refused(checkout, "-m", "algo=rloo,rloo_bare")


SHOP_CONFIG = """from dataclasses import dataclass
from webshop_rl.config.groups import EnvConfig
@dataclass
class OwnShopConfig(EnvConfig):
    _target_: str = "webshop_rl.envs.own.shop.Own"
"""
SHOP = """from webshop_rl.envs.shop5.shop import Shop5
class Own:
    remarks = ()
    def __init__(self, *, name, max_steps):
        self._shop, self.max_steps = Shop5(max_steps=max_steps), max_steps
    def goals(self, split): return self._shop.goals(split)
    def session(self): return self._shop.session()
    def digest(self): return self._shop.digest()
    def split_digest(self): return self._shop.split_digest()
    def furniture(self): return self._shop.furniture()
    def texts(self): return self._shop.texts()
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "name, max_steps)",
            "max_steps)",
            "webshop_rl.envs.own.shop.Own: got an unexpected keyword argument 'name' "
            "(it is called with every key of its YAML file, name among them)",
        ),
        (
            "name, max_steps)",
            "name, max_steps, size)",
            "webshop_rl.envs.own.shop.Own: missing a required argument: 'size' "
            "(it is called with every key of its YAML file, name among them)",
        ),
        (
            "def furniture(self): return self._shop.furniture()",
            "",
            "webshop_rl.envs.own.shop.Own: lacks furniture "
            "(webshop_rl.envs.types.PlayableShop says what each is)",
        ),
        (
            "self._shop, self.max_steps = Shop5(max_steps=max_steps), max_steps",
            "self._shop = Shop5()",
            "webshop_rl.envs.own.shop.Own: lacks max_steps "
            "(webshop_rl.envs.types.PlayableShop says what each is)",
        ),
        (
            "class Own:",
            "class Own",
            "webshop_rl/envs/own/shop.py, line 2: cannot be imported: SyntaxError: expected ':'",
        ),
        (
            "import Shop5",
            "import Shop6",
            "webshop_rl/envs/own/shop.py, line 1: cannot be imported: ImportError: cannot import ",
        ),
        (
            "import Shop5",
            "import Shop5; import nowhere",
            "webshop_rl/envs/own/shop.py, line 1: cannot be imported: ModuleNotFoundError: ",
        ),
        (
            "class Own:",
            "class Mine:",
            "_target_: webshop_rl.envs.own.shop.Own: webshop_rl.envs.own.shop has no Own",
        ),
    ],
)
def test_a_shop(checkout: OwnCheckout, old: str, new: str, message: str) -> None:
    assert old in SHOP
    checkout.write("webshop_rl/envs/own/config.py", SHOP_CONFIG)
    checkout.write("webshop_rl/envs/own/shop.py", SHOP.replace(old, new))
    checkout.write("conf/env/own.yaml", "defaults: [/base_env_own, _self_]\nname: own\nmax_steps: 5\n")
    done = checkout.run("-m", "webshop_rl", "play", "env=own")
    assert done.stderr.startswith(f"error: {message}")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")


def test_a_shop_without_answers_is_played_and_trained_on(checkout: OwnCheckout) -> None:
    checkout.write("webshop_rl/envs/own/config.py", SHOP_CONFIG)
    checkout.write("webshop_rl/envs/own/shop.py", SHOP)
    checkout.write("conf/env/own.yaml", "defaults: [/base_env_own, _self_]\nname: own\nmax_steps: 5\n")
    assert checkout.run("-m", "webshop_rl", "play", "env=own").returncode == 0
    done = checkout.run("launch.py", "env=own", "debug=quick", "tracking=journal")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            OWN.replace("name: own", "name: rloo"),
            "algo.name: rloo is not what trains: webshop_rl.algos.own.loss.Own "
            "(name: own, or another algorithm's schema: defaults: [/base_algo_rloo, _self_])",
        ),
        (
            OWN.replace("base_algo_own", "base_algo_rloo"),
            "algo.name: own is not what trains: webshop_rl.algos.rloo.loss.Rloo "
            "(name: rloo, or another algorithm's schema: defaults: [/base_algo_own, _self_])",
        ),
    ],
)
def test_a_copied_algorithm_does_not_go_by_anothers_name(
    checkout: OwnCheckout, text: str, message: str
) -> None:
    schema = f"{IMPORTS}@dataclass\nclass OwnConfig(GroupAlgoConfig):\n    {TARGET}\n"
    checkout.write("webshop_rl/algos/own/config.py", schema)
    checkout.write("conf/algo/own.yaml", text)
    assert refused(checkout, "algo=own") == message


def test_a_variant_of_an_algorithm_is_a_file(checkout: OwnCheckout) -> None:
    checkout.write("conf/algo/rloo_std.yaml", "defaults: [rloo, _self_]\nadv_norm: std\n")
    done = checkout.run("launch.py", "-m", "algo=rloo,rloo_std", "sweep.dry_run=true")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "command", [["launch.py"], ["launch.py", "-m", "seed=0,1"], ["-m", "webshop_rl", "play"]]
)
def test_a_variant_of_a_shop_has_a_name_of_its_own(checkout: OwnCheckout, command: list[str]) -> None:
    checkout.write("conf/env/shop5_hard.yaml", "defaults: [shop5, _self_]\ndistractors: 4\n")
    done = checkout.run(*command, "env=shop5_hard")
    assert done.stderr == (
        "error: env.name: shop5 is not the name of conf/env/shop5_hard.yaml "
        "(name: shop5_hard; tables and reports call the shop so)\n"
    )
    assert done.returncode == 2


def test_every_file_has_its_own_name() -> None:
    for path in CONF.glob("*/*.yaml"):
        name = OmegaConf.load(path).get("name")
        variants = ROOMS if path.parent.name == "algo" else []
        assert name in (None, path.stem, *variants), path
