from __future__ import annotations

import ast
from pathlib import Path

import webshop_rl
from webshop_rl.storage import folders
from webshop_rl.storage.folders import Root, RunFolder

PACKAGE = Path(webshop_rl.__file__).parent


def spelt_names(path: Path) -> set[str]:
    """The string constants of a module, docstrings apart."""
    tree = ast.parse(path.read_text())
    return {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def test_a_run_knows_its_root_also_by_a_relative_path(tmp_path: Path, monkeypatch) -> None:
    run = Root(tmp_path).run("r")
    assert (run.name, run.root) == ("r", Root(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert RunFolder(Path("runs/r")).root == Root(tmp_path)
    assert RunFolder.of_checkpoint(run.checkpoints / "update_000004") == run


def test_a_policy_with_a_slash_in_its_name_has_a_file_of_its_own(tmp_path: Path) -> None:
    run = Root(tmp_path).run("r")
    assert run.episodes("baseline/rule") == run.path / "episodes" / "baseline_rule.jsonl"


def test_runs_are_those_that_were_prepared(tmp_path: Path) -> None:
    root = Root(tmp_path)
    for name in ("b", "a", "torn"):
        root.run(name).path.mkdir(parents=True)
    root.run("a").signature.write_text("{}")
    root.run("b").signature.write_text("{}")
    assert [run.name for run in root.all_runs()] == ["a", "b"]


def test_the_name_of_a_file_below_root_is_spelt_in_one_module() -> None:
    names = {name for name in spelt_names(Path(folders.__file__)) if name.find(".") > 0 and " " not in name}
    assert {"status.json", "journal.jsonl", "manifest.json"} <= names
    for path in PACKAGE.rglob("*.py"):
        if path.name != "folders.py":
            assert not names & spelt_names(path), path
