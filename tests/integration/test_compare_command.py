"""`webshop-rl compare`: two arms, two runs, what has no finished run, and names that are neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import load
from analysis.compare import main
from tests.support.recorded_sweeps import Written, record
from webshop_rl.errors import UserError

RUNS = [
    *(Written("apo_pg", seed, 0.9) for seed in (0, 1)),
    *(Written("ppo", seed, 0.2) for seed in (0, 1)),
    Written("grpo", 0, 0.5, status="FAILED"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    record(folder, "study", RUNS)
    return folder


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_two_arms_and_two_runs_are_compared(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["apo_pg", "ppo", "--root", str(root)]) == 0
    words = said(capsys)
    assert words.startswith("By test/score: cannot be distinguished with these seeds")
    assert "test/success" in words
    page = root / "reports" / "compare_apo_pg_ppo" / "compare.html"
    assert words.endswith(str(page))
    assert page.is_file()
    # Names of runs, of which the first letters do; not on a terminal no cell is cut.
    first, second = (own.name for own in RUNS[1:3])
    assert main([first, second[:12], "--root", str(root)]) == 0
    words = said(capsys)
    assert f"run {first}" in words
    assert "…" not in words


def test_of_a_side_without_a_finished_run_the_configuration_alone_is_shown(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["apo_pg", "grpo", "--root", str(root)]) == 0
    words = said(capsys)
    assert "no finished run, so only the configurations are compared" in words
    assert "Configuration" in words
    assert "0 goals" not in words
    assert "test/score" not in words


def test_equal_scores_call_for_no_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, "level", [Written(algo, 0, 9.0) for algo in ("apo_pg", "ppo")])
    assert main(["apo_pg", "ppo", "--root", str(tmp_path)]) == 0
    assert said(capsys).startswith("By test/score: both have 1.000, the highest there is.")


def test_a_name_that_is_neither_is_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["apo_pg", "nothing", "--root", str(root)]) == 2
    assert capsys.readouterr().err.startswith("error: nothing: is neither a run nor an arm (arms: ")

    def none(*args: object, **kwargs: object) -> None:
        raise load.NoSweep("contains no sweep", where="x")

    def down(*args: object, **kwargs: object) -> None:
        raise UserError("cannot be read: refused", where="x")

    # With single runs alone the name that was given is said; a tracker that is down is no name's fault.
    monkeypatch.setattr(load, "load_sweep", none)
    assert main(["nothing", "apo_pg", "--root", str(root)]) == 2
    line = "error: nothing: is neither a run nor an arm (webshop-rl status lists the runs)"
    assert capsys.readouterr().err.strip() == line
    monkeypatch.setattr(load, "load_sweep", down)
    assert main(["nothing", "apo_pg", "--root", str(root)]) == 2
    assert capsys.readouterr().err.strip() == "error: x: cannot be read: refused"
