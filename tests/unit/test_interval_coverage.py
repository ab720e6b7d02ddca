"""What docs/analysis.md says of intervals over few runs, by fewer repetitions of the benchmark behind it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.interval_coverage import bimodal, coverage, normal

REPETITIONS = 400  # standard error at .6: .024


@pytest.mark.parametrize(("draw", "wanted"), [(normal, 0.75), (bimodal, 0.60)])
def test_coverage_with_three_runs(draw: object, wanted: float) -> None:
    found = coverage(draw, 3, num_arms=1, repetitions=REPETITIONS)  # type: ignore[arg-type]
    assert found == pytest.approx(wanted, abs=0.08)


@pytest.mark.parametrize("draw", [normal, bimodal])
def test_the_true_mean_is_0(draw: object) -> None:
    # Standard deviations 1 and sqrt(.3 x .7) x .85 = .39 over sqrt(100,000): at most .0032
    assert abs(draw(np.random.default_rng(0), 100_000).mean()) < 0.012  # type: ignore[operator]
