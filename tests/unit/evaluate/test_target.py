"""The first word of an evaluation: what it means, and what is said when it means nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from webshop_rl.errors import UserError
from webshop_rl.evaluate.target import Kind, find_target, model_names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three runs; the last has no whole checkpoint."""
    for age, name in enumerate(("4f8e23abc04d", "4f8e99999999", "77aa00000000")):
        run = tmp_path / "runs" / name
        for update in (10, 20):
            (run / "checkpoints" / f"update_{update:06d}").mkdir(parents=True)
        if name != "77aa00000000":
            (run / "checkpoints" / "update_000010" / "COMPLETE").write_text("{}")
        (run / "config.yaml").write_text("")
        (run / "signature.json").write_text("{}")
        os.utime(run, (1000 - age, 1000 - age))
    return tmp_path


def test_a_scripted_policy_and_a_model_by_name(root: Path) -> None:
    assert find_target("rule", root).kind is Kind.SCRIPTED
    assert find_target("tiny", root).kind is Kind.MODEL
    assert {"tiny", "smollm2_135m", "pretrained"} <= set(model_names())


def test_a_run_by_signature_first_letters_or_folder(root: Path) -> None:
    folder = root / "runs" / "4f8e23abc04d"
    for word in ("4f8e23abc04d", "4f8e2", str(folder)):
        target = find_target(word, root)
        assert (target.kind, target.name, target.place, target.update) == (
            Kind.RUN, "4f8e23abc04d", folder, None,
        )  # fmt: skip


def test_a_checkpoint_by_its_folder(root: Path) -> None:
    target = find_target(str(root / "runs/4f8e23abc04d/checkpoints/update_000010"), root)
    assert (target.name, target.update) == ("4f8e23abc04d", 10)
    with pytest.raises(UserError, match="half of a checkpoint"):
        find_target(str(root / "runs/4f8e23abc04d/checkpoints/update_000020"), root)


@pytest.mark.parametrize("file", ["config.json", "model.gguf"])
def test_a_model_by_its_folder(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("{}")
    target = find_target(str(tmp_path), tmp_path)
    assert (target.kind, target.place) == (Kind.FOLDER, tmp_path)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("4f8e", "several runs begin so: 4f8e23abc04d, 4f8e99999999"),
        ("77aa00000000", "no checkpoint yet"),
        ("4f8e23abc04e", "did you mean 4f8e23abc04d"),
        ("smollm2", "did you mean smollm2_135m"),
        ("rul", "did you mean rule"),
        ("xyzzy", "newest runs: 4f8e23abc04d, 4f8e99999999"),
        ("runs/nothing", "no such folder"),
    ],
)
def test_what_means_nothing_is_told_with_what_is_close(root: Path, word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        find_target(word, root)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run, no checkpoint and no model"):
        find_target(str(tmp_path), tmp_path)
