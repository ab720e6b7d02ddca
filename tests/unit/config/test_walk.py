"""What a key means stands on its field: filters of the walk over all keys of the default configuration."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webshop_rl.config.walk import Key, facts_of, known_keys, seed_keys, walk
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import ComposedRun, Composer
from webshop_rl.launching.sweep import sweep_name, sweep_of

GRID = (("seed=1", "lr=1e-5"), ("seed=1", "lr=2e-5"), ("seed=2", "lr=1e-5"), ("seed=2", "lr=2e-5"))


def _grid(composer: Composer, *common: str) -> list[ComposedRun] | None:
    """The runs of a small sweep, or None if an override is refused."""
    try:
        return [composer.run((*run, *common)) for run in GRID]
    except UserError:
        return None


def _other_values(key: Key) -> list[str]:
    """Values that a key may have instead, as typed, its own among them."""
    if key.facts.options:
        return list(key.facts.options)
    if isinstance(key.value, bool):
        return ["true", "false"]
    if isinstance(key.value, int | float):
        return [f"{key.value}", f"{2 * key.value}", f"{key.value + 1}", "3", "0.5"]
    own = f"'{key.value}'" if isinstance(key.value, str) else json.dumps(key.value).replace('"', "")
    return ["null", own, "other", "7", "'08:00:00'", "[]", "{}"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_leaves_every_signature_alone_leaves_the_sweeps_name_alone(
    composer: Composer, data: st.DataObject
) -> None:
    plain_grid = _grid(composer)
    assert plain_grid
    keys = [key for key in walk(plain_grid[0].config) if not key.name.endswith("_target_")]
    chosen = data.draw(
        st.lists(st.sampled_from(keys), min_size=1, max_size=3, unique_by=lambda key: key.name)
    )
    common = [f"{key.name}={data.draw(st.sampled_from(_other_values(key)))}" for key in chosen]
    grid = _grid(composer, *common)
    if grid is not None:
        same = [run.signature for run in grid] == [run.signature for run in plain_grid]
        assert (sweep_name(grid) == sweep_name(plain_grid)) == same
        outside = all(not key.facts.affects_result for key in chosen)
        assert same or not outside


def test_every_key_outside_the_signature_may_be_given_to_a_sweep(composer: Composer) -> None:
    """Some value of each, or the property above would hold of nothing."""
    plain_grid = _grid(composer)
    assert plain_grid
    outside = [key for key in walk(plain_grid[0].config) if not key.facts.affects_result]
    names = {key.name for key in outside}
    assert {"checkpoint.every", "root", "hardware.name", "tracking.uri", "sweep.wait", "retry"} <= names
    for key in outside:
        grids = [_grid(composer, f"{key.name}={value}") for value in _other_values(key)]
        found = [sweep_name(grid) for grid in grids if grid]
        assert set(found) == {sweep_name(plain_grid)}, key.name


def test_the_signature_is_all_but_these_sections(composer: Composer) -> None:
    config = composer.run(["seed=1"]).config
    outside = {key.name.partition(".")[0] for key in walk(config) if not key.facts.affects_result}
    sections = {"hardware", "tracking", "sweep", "checkpoint"}
    assert outside == sections | {"root", "experiment_name", "retry", "rerun", "on_code_change"}
    inside = {key.name.partition(".")[0] for key in walk(config) if key.facts.affects_result}
    assert not inside & outside


def test_facts_by_name() -> None:
    assert seed_keys() == ("seed", "model.init_seed", "vstar.seed")
    places = {name: facts.place for name, facts in known_keys() if facts.place}
    assert places == {
        "algo.records": "path",
        "env.data_dir": "folder",
        "init_from": "path",
        "model.path": "path",
        "root": "path",
    }
    assert not facts_of("hardware.no_such_key").affects_result  # as its section
    assert facts_of("no_such_key").affects_result
    assert facts_of("env.distractors").bounds == (("ge", 0), ("le", 4))


def test_what_decides_an_episode() -> None:
    deciding = {
        who: {name for name, facts in known_keys() if who in facts.decides}
        for who in ("scripted", "reference", "evaluated")
    }
    assert {"env.split", "evaluation.seed"} <= deciding["scripted"]
    assert not any(name.startswith(("model", "rollout")) for name in deciding["scripted"])
    assert {"env.split", "model.path", "rollout.top_p", "vstar.seed"} <= deciding["reference"]
    memory = {"rollout.batch_size", "model.micro_batch_tokens", "model.gradient_checkpointing"}
    assert not (memory | {"model.lr_scale"}) & (deciding["reference"] | deciding["evaluated"])
    assert "model.lora.rank" in deciding["evaluated"] - deciding["reference"]
    assert "evaluation.temperature" in deciding["evaluated"] - deciding["scripted"]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("hardware.threads", ("1", "2")),
        ("tracking.traces", ("1", "2")),
        ("root", ("a", "b")),
        ("retry", ("true", "false")),
        ("sweep.pack", ("1", "2")),
    ],
)
def test_what_a_sweep_may_not_vary(composer: Composer, key: str, values: tuple[str, str]) -> None:
    with pytest.raises(UserError, match=rf"^{key}: cannot be swept over \(.+\)$"):
        sweep_of(composer.runs([[f"{key}={value}"] for value in values]))


def test_what_a_field_does_not_say_is_its_sections(composer: Composer) -> None:
    section = facts_of("hardware")
    for key in walk(composer.run(["seed=1"]).config):
        if key.name.startswith("hardware."):
            own = {"seed": False, "place": "", "bounds": (), "options": ()}
            assert dataclasses.replace(key.facts, **own) == section
