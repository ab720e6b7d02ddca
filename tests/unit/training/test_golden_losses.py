"""Ten updates give the losses on record (`python -m tests.support.golden_losses` records them anew)."""

from __future__ import annotations

import json

import pytest

from tests.support.golden_losses import GOLDEN, RUNS, record

RTOL = 1e-4


@pytest.mark.parametrize("name", RUNS)
def test_loss_curve(name: str) -> None:
    expected = json.loads(GOLDEN.read_text())[name]
    found = record(name)
    assert len(found["optim/loss"]) == 10
    for key, curve in expected.items():
        assert found[key].keys() == curve.keys()
        for step, value in curve.items():
            assert found[key][step] == pytest.approx(value, rel=RTOL, abs=1e-6), f"{key} at update {step}"
