"""Which finished run a longer one goes on from, and which it must not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.shop5_parts import composed
from webshop_rl.launching.compose import freeze
from webshop_rl.launching.continuing import shorter_signatures, take_over
from webshop_rl.launching.plan import Action, Planned, plan_launch
from webshop_rl.launching.reconcile import observe
from webshop_rl.launching.sweep import sweep_of
from webshop_rl.source import code_digest
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.run_status import RunStatus, State

OPTIMISER_KEPT = {"weights.safetensors": "1", "optimiser.pt": "2"}


def _finished(
    root: Path, *overrides: str, update: int, code: str = "", files: dict[str, str] = OPTIMISER_KEPT
) -> RunFolder:
    """The folder of a finished run, with one checkpoint."""
    run = RunFolder(root / "runs" / freeze(composed(f"root={root}", *overrides)).signature)
    checkpoint = run.checkpoints / f"update_{update:06d}"
    checkpoint.mkdir(parents=True)
    for name in files:
        (checkpoint / name).write_text(name)
    (checkpoint / "COMPLETE").write_text(json.dumps(files))
    run.signature.write_text(json.dumps({"code_digest": code or code_digest()}))
    RunStatus(State.FINISHED, attempts=1).write(run)
    return run


def _plan(root: Path, *overrides: str) -> Planned:
    run = freeze(composed(f"root={root}", *overrides))
    return plan_launch(sweep_of([run], "s"), [run], observe)[0].planned


def test_the_longest_finished_one_is_gone_on_from(tmp_path: Path) -> None:
    _finished(tmp_path, "num_updates=20", update=20)
    longest = _finished(tmp_path, "num_updates=60", update=60)
    _finished(tmp_path, "num_updates=90", "seed=1", update=90)
    planned = _plan(tmp_path, "num_updates=120")
    assert planned.action == Action.START
    assert planned.shorter is not None
    assert (planned.shorter.folder, planned.shorter.update) == (longest, 60)
    assert planned.shorter.hindrance == ""
    assert f"goes on from run {longest.name} of 60 updates" in planned.shorter.describe()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optim.schedule=linear", "with optim.schedule=linear"),
        ("optim.schedule=cosine", "with optim.schedule=cosine"),
        ("vstar.adaptive=true", "with vstar.adaptive=true"),
    ],
)
def test_what_depends_on_the_length_starts_anew_and_says_so(tmp_path: Path, override: str, said: str) -> None:
    _finished(tmp_path, "num_updates=60", override, update=60)
    shorter = _plan(tmp_path, "num_updates=120", override).shorter
    assert shorter is not None
    assert said in shorter.hindrance
    assert "starts at update 0" in shorter.describe()


def test_v_star_hinders_only_what_uses_it(tmp_path: Path) -> None:
    keys = ("algo=ppo", "vstar.adaptive=true")
    _finished(tmp_path, "num_updates=60", *keys, update=60)
    shorter = _plan(tmp_path, "num_updates=120", *keys).shorter
    assert shorter is not None
    assert shorter.hindrance == ""


def test_without_an_optimiser_or_a_checkpoint_it_starts_anew(tmp_path: Path) -> None:
    _finished(tmp_path, "num_updates=60", update=60, files={"weights.safetensors": "1"})
    shorter = _plan(tmp_path, "num_updates=120").shorter
    assert shorter is not None
    assert "checkpoint.keep_optimiser_gb" in shorter.hindrance
    _finished(tmp_path, "num_updates=70", update=69)  # health.on_trouble=stop ended it early
    shorter = _plan(tmp_path, "num_updates=120").shorter
    assert shorter is not None
    assert "checkpoint is gone" in shorter.hindrance


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ((), ("rerun=true",)),
        (("seed=1",), ()),
        (("lr=1e-4",), ()),
        (("evaluation.every=20",), ()),
    ],
)
def test_other_runs_are_let_be(tmp_path: Path, before: tuple[str, ...], now: tuple[str, ...]) -> None:
    _finished(tmp_path, "num_updates=60", *before, update=60)
    assert _plan(tmp_path, "num_updates=120", *now).shorter is None


def test_other_code_is_gone_on_from_only_if_it_is_trusted(tmp_path: Path) -> None:
    _finished(tmp_path, "num_updates=60", update=60, code="other")
    assert _plan(tmp_path, "num_updates=120").shorter is None
    assert _plan(tmp_path, "num_updates=120", "on_code_change=reuse").shorter is not None


def test_a_run_that_was_not_evaluated_on_schedule_is_no_beginning() -> None:
    def updates(*overrides: str) -> list[int]:
        return list(shorter_signatures(freeze(composed(*overrides)).fields).values())

    assert updates("num_updates=45", "evaluation.every=10") == [40, 30, 20, 10]
    assert updates("num_updates=40", "evaluation.every=10") == [30, 20, 10]
    # Six updates a collection: a run of 10 ends at 12, one of 30 at 30.
    six = ("algo=ppo", "algo.num_epochs=2", "algo.num_minibatches=3")
    assert updates("num_updates=70", "evaluation.every=10", *six) == [60, 30]
    assert updates("num_updates=null", "num_episodes=640") == []


def test_taking_over_shares_files_and_changes_nothing_of_the_old(tmp_path: Path) -> None:
    _finished(tmp_path, "num_updates=60", update=60)
    shorter = _plan(tmp_path, "num_updates=120").shorter
    assert shorter is not None
    old, run = shorter.folder, RunFolder(tmp_path / "runs" / "new")
    old.vstar.write_text("{}")
    for _ in range(2):  # killed and called again
        take_over(run, shorter)
    name = "checkpoints/update_000060/optimiser.pt"
    assert (run.path / name).samefile(old.path / name)
    assert json.loads(run.continues.read_text()) == {"run": old.name, "update": 60}
    assert run.vstar.read_text() == "{}"
    assert not run.journal.exists()
    (run.path / name).unlink()
    assert (old.path / name).read_text() == "optimiser.pt"
