"""The wheel alone, far from the checkout: the command, its configuration, a run and its report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

SHARED_PACKAGES = Path(pytest.__file__).parents[1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git would ship, so that nothing is built in the checkout."""
    place = tmp_path_factory.mktemp("source")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listed, cwd=REPOSITORY, text=True).splitlines():
        if not name.startswith("tests/") and (REPOSITORY / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, place / name)
    return place


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(place)]
    subprocess.run([sys.executable, "-m", "pip", *build, str(source)], check=True, capture_output=True)
    return next(place.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("installed"), str(wheel))


def install(place: Path, *what: str) -> Path:
    """The command `webshop-rl` of a fresh environment, which borrows all packages but this one."""
    venv.create(place, with_pip=False, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    # Behind the environment's own packages; the checkout, if it is installed there, is no part of it.
    (packages / "borrowed.pth").write_text(f"{SHARED_PACKAGES}\n")
    pip = ["install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--force-reinstall", *what]
    command = [str(place / "bin" / "python"), "-m", "pip", *pip]
    subprocess.run(command, check=True, capture_output=True)
    return place / "bin" / "webshop-rl"


def run(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [str(program), *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
    )


def test_the_wheel_has_every_file_of_conf_and_takes_no_general_name(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    there = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "conf").rglob("*.yaml")}
    assert {name.removeprefix("webshop_rl/") for name in names if name.endswith(".yaml")} == there
    assert "webshop_rl/analysis/report.py" in names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"webshop_rl", "hydra_plugins"}


def options(group: str) -> str:
    """As the help lists them."""
    return ", ".join(sorted(path.stem for path in (REPOSITORY / "conf" / group).glob("*.yaml")))


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], "webshop-rl sweep"),
        (["train", "--help"], f"algo: {options('algo')}"),
        (["sweep", "--help"], f"experiment: {options('experiment').split(',')[0]}"),
        (["status", "--help"], "webshop-rl status cancel SWEEP"),
        (["evaluate", "--help"], "usage:"),
        (["report", "--help"], "usage:"),
        (["ui", "--help"], "usage:"),
    ],
)
def test_help_answers_at_once(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], shown: str
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    done = run(installed, *arguments, cwd=tmp_path)
    assert shown in done.stdout, done.stderr
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "webshop_rl.errors" in imported
    assert imported.isdisjoint({"torch", "transformers", "mlflow"})  # seconds, each of them
    assert not any(tmp_path.iterdir())


def test_an_unknown_command_is_one_line(installed: Path, tmp_path: Path) -> None:
    done = run(installed, "trian", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("error: webshop-rl: there is no trian (there are train, sweep,")


def test_a_scripted_policy_is_evaluated(installed: Path, tmp_path: Path) -> None:
    done = run(installed, "evaluate", "rule", "episodes=5", "tracking=journal", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = (tmp_path / "runs" / "evaluations").glob("*/result.json")
    assert "rule" in result.read_text()


def test_a_run_and_its_report(installed: Path, tmp_path: Path) -> None:
    trained = run(installed, "train", "debug=quick", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    (result,) = (tmp_path / "runs" / "runs").glob("*/result.json")
    name = result.parent.name
    assert json.loads((result.parent / "status.json").read_text())["state"] == "finished"
    assert f" report --run {name}\n" in trained.stdout
    reported = run(installed, "report", "--run", name, cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    (page,) = (tmp_path / "runs" / "reports").glob("*/report.html")
    assert name in page.read_text()


def test_a_sweep_runs_the_code_of_the_wheel_from_a_frozen_copy(installed: Path, tmp_path: Path) -> None:
    swept = run(
        installed, "sweep", "debug=quick", "num_updates=0", "seed=1,2", "tracking=journal", cwd=tmp_path
    )
    assert swept.returncode == 0, swept.stderr
    assert len(list((tmp_path / "runs" / "runs").glob("*/result.json"))) == 2
    (frozen,) = (tmp_path / "runs" / "code").iterdir()
    assert not (frozen / "webshop_rl" / "conf").exists()  # a run executes its own config.yaml


def test_an_editable_installation_has_every_command_too(source: Path, tmp_path: Path) -> None:
    program = install(tmp_path / "venv", "-e", str(source))
    for command, shown in (("report", "usage:"), ("train", "algo: apo_pg")):
        done = run(program, command, "--help", cwd=tmp_path)
        assert shown in done.stdout, done.stderr
