"""The digest of the code: of the whole package for runs, of what plays an episode for V*."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from webshop_rl import source
from webshop_rl.source import acting_code_digest, code_digest

PACKAGE = Path(source.__file__).parent


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "a/webshop_rl", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "a"


def edited(tree: Path, name: str) -> Path:
    """A copy of the tree with one more line in a file of the package."""
    copy = tree.with_name("edited")
    shutil.copytree(tree, copy)
    file = copy / "webshop_rl" / name
    assert file.is_file()
    file.write_text(file.read_text() + "\n# edited\n")
    return copy


@pytest.mark.parametrize(
    "name",
    [
        "envs/shop5/catalogue.py", "envs/webshop/search.py", "interface/prompts.py", "interface/grammar.py",
        "models/sampling.py", "models/tiny.py", "rollout/episode.py", "training/reference.py",
        "training/vstar.py",
    ],
)  # fmt: skip
def test_what_plays_an_episode_is_in_both(tree: Path, name: str) -> None:
    copy = edited(tree, name)
    assert acting_code_digest(copy) != acting_code_digest(tree)
    assert code_digest(copy) != code_digest(tree)


@pytest.mark.parametrize(
    "name",
    [
        "algos/advantages.py",
        "distributed/ranks.py",
        "training/learner.py",
        "tracking/journal.py",
        "config/schema.py",
    ],
)
def test_the_learners_side_is_in_the_digest_of_runs_alone(tree: Path, name: str) -> None:
    copy = edited(tree, name)
    assert acting_code_digest(copy) == acting_code_digest(tree)
    assert code_digest(copy) != code_digest(tree)


def test_the_place_and_compiled_files_do_not_count(tree: Path) -> None:
    copy = tree.with_name("elsewhere")
    shutil.copytree(tree, copy)
    (copy / "webshop_rl/envs/__pycache__").mkdir()
    (copy / "webshop_rl/envs/__pycache__/types.cpython-311.pyc").write_bytes(b"x")
    assert acting_code_digest(copy) == acting_code_digest(tree)
    assert code_digest(copy) == code_digest(tree)


def test_it_is_the_imported_package_that_is_meant() -> None:
    assert acting_code_digest() == acting_code_digest(PACKAGE.parent)
    assert PACKAGE.parent == source.SOURCE
