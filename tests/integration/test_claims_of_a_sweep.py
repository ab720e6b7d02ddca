"""The claims of a recorded sweep: which runs are whose arm, and what of their curves is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.claims import by_shop, main, read_played
from tests.support.recorded_sweeps import Written, record
from webshop_rl.storage.folders import Root

ARMS = {"apo_pg": "seed_apo_only", "apo_sft": "seed_weighted_sft"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    runs = [Written(algo, seed, 0.8) for algo in ARMS for seed in (0, 1)]
    runs.append(Written("apo_pg", 2, 0.8, status="FAILED"))
    record(tmp_path, "claims", runs)
    listed = [
        {
            "run": run.name,
            "signature": run.signature,
            "overrides": [f"system={ARMS[run.algo]}", f"seed={run.seed}"],
        }
        for run in runs
    ]
    manifest = Root(tmp_path).sweep("claims").manifest
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"runs": listed}))
    return tmp_path


def test_curves_of_finished_runs_by_shop_and_arm(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = by_shop(read_played(root, "claims"))
    assert {shop: sorted(arms) for shop, arms in found.items()} == {"webshop": sorted(ARMS.values())}
    for curves in found["webshop"].values():
        assert [len(curve) for curve in curves] == [
            3,
            3,
        ]  # two finished runs, validated at updates 4, 8 and 12
        assert all(curve[0] < curve[-1] for curve in curves)
    assert main(["claims", "--root", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "| weighted SFT learns where the policy gradient fails | webshop |" in printed
    assert "undecided" in printed
    assert "| webshop | 4 | 0 | 0 |" in printed  # the finished runs; none falls
