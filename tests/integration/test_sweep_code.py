"""The code of a run: frozen when the sweep starts, and never mixed with another version's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sweep_command import Command, copy_checkout, read, wait_until


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "checkout").mkdir()
    copied = copy_checkout(tmp_path / "checkout", trains=False)
    (copied / "webshop_rl/late_probe.py").write_text("VALUE = 'as launched'\n")
    return copied


def test_an_edit_during_the_sweep_changes_no_run(tmp_path: Path, source: Path) -> None:
    behaviour = {f"s{seed}": "late_import" for seed in range(6)}
    command = Command(tmp_path / "runs", source, **behaviour)
    launcher = command.start("-m", "seed=range(0,6)", "num_updates=20")
    wait_until(lambda: any((f / "updates.log").exists() for f in command.runs().values()))
    (source / "webshop_rl/late_probe.py").write_text("VALUE = 'edited'\n")
    for config in (source / "conf").rglob("*.yaml"):
        config.write_text("num_updates: 1\n")
    output, _ = launcher.communicate(timeout=180)
    assert launcher.returncode == 0, output
    notes = [read(folder / "note.json") for folder in command.runs().values()]
    assert {note["late"] for note in notes} == {"as launched"}
    assert all(len((f / "updates.log").read_text().split()) == 20 for f in command.runs().values())


def test_numbers_of_other_code_are_refused_reused_or_made_again(tmp_path: Path, source: Path) -> None:
    command = Command(tmp_path / "runs", source)
    assert command.run("-m", "seed=1,2")[0] == 0
    (source / "webshop_rl/late_probe.py").write_text("VALUE = 'edited'\n")
    for overrides in (["-m", "seed=1,2"], ["seed=1"]):
        code, output = command.run(*overrides)
        assert code == 2, output
        assert "was made with other code" in output
    code, output = command.run("-m", "seed=1,2", "on_code_change=reuse")
    assert code == 0, output
    assert "2 skip" in output
    code, output = command.run("-m", "seed=1,2", "on_code_change=rerun")
    assert code == 0, output
    assert "2 start" in output
    folders = sorted(p.name for p in (tmp_path / "runs/runs").iterdir())
    assert len(folders) == 4
    assert [name.endswith("-r1") for name in folders] == [False, True, False, True]
    code, output = command.run("-m", "seed=1,2")
    assert "2 skip" in output


def test_a_run_that_failed_before_its_first_update_may_be_retried_with_mended_code(
    tmp_path: Path, source: Path
) -> None:
    experiment = source / "webshop_rl/experiment.py"
    whole = experiment.read_text()
    experiment.write_text("raise AttributeError('half written')\n")
    command = Command(tmp_path / "runs", source)
    code, output = command.run("-m", "seed=1")
    assert code == 1, output
    assert "AttributeError" in output
    experiment.write_text(whole)
    code, output = command.run("-m", "seed=1", "retry=true")
    assert code == 0, output
    assert command.states() == {1: "finished"}
