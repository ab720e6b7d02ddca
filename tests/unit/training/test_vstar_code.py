"""Reference returns of other code: never under this code's key; taken over or left, as was decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webshop_rl.launching.compose import ComposedRun
from webshop_rl.launching.plan import Action, CodeChanged, Entry, Planned, check_reference_returns
from webshop_rl.launching.signature import acting_signature
from webshop_rl.storage.folders import Root
from webshop_rl.training import vstar
from webshop_rl.training.vstar import Provenance, open_returns
from webshop_rl.values.store import KeyedReturns, Sample

KEY = {"weights": "w", "seed": "0"}


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the digest of the code at hand."""
    return lambda digest: monkeypatch.setattr(vstar, "acting_code_digest", lambda: digest)


def opened(
    root: Path, *, reuse: bool = False, before: Provenance | None = None, **key: str
) -> tuple[KeyedReturns, Provenance]:
    return open_returns(root, KEY | key, reuse=reuse, before=before)


def sampled(root: Path, goal: str, earned: float) -> KeyedReturns:
    returns, _ = opened(root)
    returns.add([Sample(goal, 0, earned, 0.0)])
    return returns


def test_other_code_has_another_key_and_its_record_names_the_code(tmp_path: Path, code: Any) -> None:
    code("old")
    old = sampled(tmp_path, "g", 0.25)
    assert json.loads((old.folder / "key.json").read_text()) == {**KEY, "code": "old"}
    code("new")
    new, provenance = opened(tmp_path)
    assert (new.empty, provenance) == (True, Provenance("new"))
    assert new.folder != old.folder
    code("old")
    assert opened(tmp_path)[0].get("g") == {0: 0.25}


def test_reuse_copies_and_never_adds_to_what_the_old_code_sampled(tmp_path: Path, code: Any) -> None:
    code("old")
    old = sampled(tmp_path, "g", 0.25)
    code("new")
    returns, provenance = opened(tmp_path, reuse=True)
    assert provenance == Provenance("new", old.folder.name, "old")
    assert returns.get("g") == {0: 0.25}
    assert returns.key == {**KEY, "code": "new", "reuses": old.folder.name}
    returns.add([Sample("h", 0, 0.5, 0.0)])
    code("old")
    assert opened(tmp_path)[0].get("h") == {}
    code("new")
    assert opened(tmp_path)[0].empty  # nor does it pass for the new code's own
    again, _ = opened(tmp_path, reuse=True)
    assert (again.get("g"), again.get("h")) == ({0: 0.25}, {0: 0.5})


def test_reuse_takes_nothing_from_another_key(tmp_path: Path, code: Any) -> None:
    code("old")
    sampled(tmp_path, "g", 0.25)
    code("new")
    returns, provenance = opened(tmp_path, reuse=True, weights="other")
    assert (returns.empty, provenance) == (True, Provenance("new"))


def test_reuse_prefers_its_own_codes_samples_then_the_latest(tmp_path: Path, code: Any) -> None:
    for number, digest in enumerate(("one", "two")):
        code(digest)
        sampled(tmp_path, "g", float(number))
    code("new")
    assert opened(tmp_path, reuse=True)[1].reused_code == "two"
    assert opened(tmp_path, reuse=True, before=Provenance("one"))[1].reused_code == "one"  # a run's own
    sampled(tmp_path, "g", 7.0)
    returns, provenance = opened(tmp_path, reuse=True)
    assert (returns.get("g"), provenance) == ({0: 7.0}, Provenance("new"))


def test_a_run_goes_on_with_the_samples_it_began_with(tmp_path: Path, code: Any) -> None:
    code("old")
    sampled(tmp_path, "g", 0.25)
    code("new")
    _, reused = opened(tmp_path, reuse=True)
    sampled(tmp_path, "g", 7.0)  # another run samples with the new code meanwhile
    assert opened(tmp_path, before=reused)[0].get("g") == {0: 0.25}
    # One that began with the new code's own does not take over the old ones later.
    assert opened(tmp_path, reuse=True, before=Provenance("new"))[0].get("g") == {0: 7.0}


def run_of(root: Path, action: Action = Action.START, **fields: Any) -> Entry:
    given = {"algo.equal_groups": "keep", "env.name": "shop5", "vstar.seed": 0, "lr": 1.0, **fields}
    composed = ComposedRun((), {}, given, "run")
    return Entry(composed, Planned(Root(root).run("run"), action))


def check(root: Path, run: Entry) -> None:
    check_reference_returns(Root(root), [run], code="new")


def test_a_launch_refuses_what_only_other_code_has_sampled(tmp_path: Path, code: Any) -> None:
    run = run_of(tmp_path)
    check(tmp_path, run)
    code("old")
    used = sampled(Root(tmp_path).vstar, "g", 0.25)
    used.note_configuration(acting_signature(run.composed.fields))
    with pytest.raises(
        CodeChanged, match=r"on_code_change: .*other code \(old, now new\) \(reuse: .* rerun: "
    ):
        check(tmp_path, run_of(tmp_path, lr=2.0, seed=5))
    # Not for runs that share nothing, need no V*, or do not start.
    check(tmp_path, run_of(tmp_path, **{"vstar.seed": 1}))
    check(tmp_path, run_of(tmp_path, **{"env.name": "webshop"}))
    check(tmp_path, run_of(tmp_path, Action.SKIP))
    without = run_of(tmp_path)
    del without.composed.fields["algo.equal_groups"]
    check(tmp_path, without)
    # Reused once is not decided for ever; sampled with the new code is.
    code("new")
    reused, provenance = opened(Root(tmp_path).vstar, reuse=True)
    reused.note_configuration(acting_signature(run.composed.fields))
    with pytest.raises(CodeChanged):
        check(tmp_path, run)
    (tmp_path / "runs/run").mkdir(parents=True)
    (tmp_path / "runs/run/vstar.json").write_text(json.dumps({"code": provenance.code}))
    check(tmp_path, run_of(tmp_path, Action.RESUME))
    (tmp_path / "runs/run/vstar.json").unlink()
    sampled(Root(tmp_path).vstar, "g", 1.0).note_configuration(acting_signature(run.composed.fields))
    check(tmp_path, run)


def test_what_decides_no_episode_is_not_in_the_configurations_digest() -> None:
    fields = {"env.name": "shop5", "rollout.batch_size": 64, "model.lora.rank": 16, "vstar.adaptive": False}
    same = {"rollout.batch_size": 1, "model.lora.rank": 2, "vstar.adaptive": True, "lr": 1.0, "root": "x"}
    assert acting_signature(fields) == acting_signature({**fields, **same})
    for other in ({"env.name": "webshop"}, {"vstar.seed": 1}, {"rollout.top_p": 0.5}, {"model.dtype": "x"}):
        assert acting_signature(fields) != acting_signature({**fields, **other})
