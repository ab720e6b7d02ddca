"""What MLflow calls runs, and what it shows of a sweep."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import OmegaConf

from webshop_rl.launching.recording import describe
from webshop_rl.launching.sweep import Listed, short_label, write_manifest
from webshop_rl.run_record import run_name
from webshop_rl.storage.folders import Root
from webshop_rl.storage.run_status import State

CFG = OmegaConf.create(
    {"env": {"name": "shop5"}, "algo": {"name": "apo_pg"}, "model": {"name": "tiny"}, "lr": 5e-6, "seed": 11}
)


def test_a_run_is_called_first_by_what_tells_it_from_the_others() -> None:
    label = short_label(["algo=apo_pg", "model.num_heads=4", "env.num=4", "seed=11"])
    assert label == "algo=apo_pg num_heads=4 num=4 seed=11"
    assert run_name(CFG, label) == "algo=apo_pg num_heads=4 num=4 seed=11 tiny shop5"
    assert short_label([]) == ""
    assert run_name(CFG, "") == "lr=5e-06 seed=11 apo_pg tiny shop5"


def test_keys_that_end_alike_keep_their_groups() -> None:
    assert short_label(["algo.beta=1", "vstar.beta=2"]) == "algo.beta=1 vstar.beta=2"


def test_a_sweep_of_any_size_has_a_description_that_mlflow_takes(tmp_path: Path) -> None:
    listed = [Listed(f"run{n}", f"run{n}", (f"model.num_heads={n}",)) for n in range(1000)]
    root = Root(tmp_path)
    write_manifest(root, "study", listed, [])
    folder = root.run("run0")
    folder.path.mkdir(parents=True)
    policies = {"test": {"success": 0.5, "score": 0.75}, "baseline/rule": {"success": 0.25, "score": 0.5}}
    folder.result.write_text(json.dumps({"policies": policies}))
    note = describe(root, "study", {folder: (State.FINISHED, "")})["mlflow.note.content"]
    assert len(note) <= 5000  # of 8,000 that MLflow takes: a report has room for its table
    assert "1000 runs: 1 finished" in note
    assert "baseline/rule | | 0.250 | 0.500" in note
    assert "model.num_heads=0 | finished | 0.500 | 0.750" in note
    assert "model.num_heads=1 | to come | - | -" in note
    assert note.splitlines()[-1].endswith("more rows")
