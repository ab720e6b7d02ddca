"""Runs that start from the weights of another: what they start as, how they are named, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.shop5_parts import SMALL, composed, curve, run_here
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import freeze
from webshop_rl.storage.files import replace_file
from webshop_rl.storage.folders import Root
from webshop_rl.storage.weights import WEIGHTS, read_header

QUICK = (*SMALL, "env.distractors=1", "evaluation.test_episodes=5", "evaluation.val_episodes=5")


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of cloning."""
    _, folder = run_here(tmp_path_factory.mktemp("root"), "abcd12345678", "algo=bc", "num_updates=8", *QUICK)
    (folder / "signature.json").write_text("{}")
    return folder


def _checkpoint(run: Path) -> Path:
    best = json.loads((run / "result.json").read_text())["best_update"]
    return run / "checkpoints" / f"update_{best:06d}"


@pytest.mark.parametrize("algorithm", ["apo_pg", "ppo"])
def test_training_starts_as_the_clone_and_so_does_the_reference(
    cloned: Path, tmp_path: Path, algorithm: str
) -> None:
    kl = ("algo.kl_coef=0.1", f"algo={algorithm}")
    _, folder = run_here(
        tmp_path, "rl", *kl, "num_updates=4", f"init_from={_checkpoint(cloned) / WEIGHTS}", *QUICK
    )
    start = (folder / "episodes" / "untrained.jsonl").read_text()
    assert start == (cloned / "episodes" / "test.jsonl").read_text()
    kls = curve(folder, "algo/kl")
    # Before its first step the policy is the reference; the metric is of the policy that sampled.
    assert kls[1] == pytest.approx(0.0, abs=1e-6)
    assert kls[4] > 0
    if algorithm == "apo_pg":  # V*'s samples are the clone's: kept apart from those of random weights
        (key,) = (tmp_path / "vstar").iterdir()
        _, plain = run_here(tmp_path, "plain", *kl, "num_updates=1", *QUICK)
        assert len(list((tmp_path / "vstar").iterdir())) == 2
        assert plain.exists()
        assert key.exists()


def test_names_by_content(cloned: Path, tmp_path: Path) -> None:
    root = f"root={cloned.parents[1]}"
    checkpoint = _checkpoint(cloned)
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    shutil.copy(checkpoint / WEIGHTS, copy / WEIGHTS)

    def frozen(word: object, *overrides: str) -> tuple[str, str]:
        run = freeze(composed(*QUICK, root, f"init_from={word}", *overrides))
        return run.signature, run.config["init_from"]

    names = [frozen(word) for word in (cloned, "abcd12345678", "abcd", checkpoint, copy, copy / WEIGHTS)]
    assert len({signature for signature, _ in names}) == 1
    assert names[0][1] == str((checkpoint / WEIGHTS).resolve())
    assert frozen("null")[0] != names[0][0]
    tensors = load_file(copy / WEIGHTS)
    tensors = {name: tensor + 1 for name, tensor in tensors.items()}
    save_file(tensors, copy / WEIGHTS, metadata=dict(read_header(checkpoint / WEIGHTS).notes))
    assert frozen(copy)[0] != names[0][0]


@pytest.mark.parametrize(
    ("word", "overrides", "message"),
    [
        ("no/such", (), "no such run, sweep or folder: no/such"),
        ("{empty}", (), "contains no weights"),
        ("{text}", (), "not a safetensors file"),
        ("{run}", ("model.hidden_size=64",), "of another model: hidden_size=32"),
        ("{run}", ("model.num_layers=3",), "of another model: num_layers=2"),
        ("{run}", ("model.pointer=true",), "of another model: pointer=False"),
        ("{run}", ("model.lora.enabled=true",), "adapters start at zero"),
    ],
)
def test_refused_at_launch(
    cloned: Path, tmp_path: Path, word: str, overrides: tuple[str, ...], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("weights")
    named = word.format(run=cloned, empty=tmp_path / "empty", text=tmp_path / "text")
    with pytest.raises(UserError, match=message) as refused:
        freeze(composed(*QUICK, f"root={tmp_path}", f"init_from={named}", *overrides))
    assert refused.value.where == "init_from"
    assert "\n" not in str(refused.value)


def test_a_sweep_means_its_run_of_the_same_seed(cloned: Path, tmp_path: Path) -> None:
    root = Root(tmp_path)
    for name, seed in (("aaaa", 0), ("bbbb", 1), ("cccc", 2), ("dddd", 2)):
        shutil.copytree(cloned, root.run(name).path)
        replace_file(root.run(name).signature, json.dumps({"fields": {"seed": seed}}))
    listed = [{"run": name} for name in ("bbbb", "aaaa", "cccc", "dddd")]
    replace_file(root.sweep("clones").manifest, json.dumps({"runs": listed}))

    def weights(seed: int) -> str:
        return str(
            freeze(composed(*QUICK, f"root={tmp_path}", "init_from=clones", f"seed={seed}")).config[
                "init_from"
            ]
        )

    assert Path(weights(0)).is_relative_to(root.run("aaaa").path)
    assert Path(weights(1)).is_relative_to(root.run("bbbb").path)
    with pytest.raises(UserError, match=r"clones has 2 runs of seed=2 \(cccc, dddd\)"):
        weights(2)
    with pytest.raises(UserError, match="clones has 0 runs of seed=3"):
        weights(3)


def test_another_vocabulary_is_refused_before_the_first_episode(cloned: Path, tmp_path: Path) -> None:
    # One word fewer and one more leave the shapes alone.
    with pytest.raises(UserError, match="another vocabulary"):
        run_here(tmp_path, "rl", *QUICK, "env.distractors=0", f"init_from={_checkpoint(cloned) / WEIGHTS}")
    assert not (tmp_path / "runs" / "rl" / "episodes").exists()


def test_a_resumed_run_starts_from_the_same_weights_or_not_at_all(cloned: Path, tmp_path: Path) -> None:
    weights = tmp_path / WEIGHTS
    shutil.copy(_checkpoint(cloned) / WEIGHTS, weights)
    run_here(tmp_path, "rl", "num_updates=1", f"init_from={weights}", *QUICK)
    tensors = {name: tensor + torch.ones_like(tensor) for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, metadata=dict(read_header(_checkpoint(cloned) / WEIGHTS).notes))
    with pytest.raises(UserError, match="weights that the run began with have changed"):
        run_here(tmp_path, "rl", "num_updates=2", f"init_from={weights}", *QUICK)
