"""What holds of V* and of the store whatever the numbers."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from webshop_rl.values.estimator import soft_value
from webshop_rl.values.store import ReturnStore, Sample

RETURNS = st.lists(st.floats(-10, 10, allow_nan=False), min_size=1, max_size=16)
BETA = st.floats(1e-6, 1e6)


@given(RETURNS, BETA)
def test_between_mean_and_max(returns: list[float], beta: float) -> None:
    value = float(soft_value(returns, beta))
    assert np.mean(returns) - 1e-9 <= value <= max(returns) + 1e-9


@given(RETURNS, BETA, st.floats(1.0, 100.0))
def test_falls_with_beta(returns: list[float], beta: float, factor: float) -> None:
    assert float(soft_value(returns, beta * factor)) <= float(soft_value(returns, beta)) + 1e-9


@given(RETURNS, BETA, st.floats(-5, 5), st.randoms(use_true_random=False))
def test_shift_and_order(returns: list[float], beta: float, shift: float, random: object) -> None:
    base = float(soft_value(returns, beta))
    assert abs(float(soft_value(np.array(returns) + shift, beta)) - base - shift) < 1e-9
    shuffled = list(returns)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert abs(float(soft_value(shuffled, beta)) - base) < 1e-9


SAMPLES = st.lists(
    st.tuples(st.sampled_from(["a", "b/1", "ü"]), st.integers(0, 3), st.floats(0, 2), st.floats(0, 1)),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(SAMPLES, st.lists(st.integers(0, 12), max_size=3))
def test_store_gives_back_the_first_written_of_each(rows: list[tuple], cuts: list[int]) -> None:  # type: ignore[type-arg]
    """However the samples are split into additions, a reader of the folder sees the same."""
    import warnings

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = ReturnStore(Path(folder)).open({"weights": "w"})
        bounds = [0, *sorted(min(c, len(rows)) for c in cuts), len(rows)]
        for start, end in itertools.pairwise(bounds):
            store.add([Sample(*row) for row in rows[start:end]])
        expected: dict[str, dict[int, float]] = {}
        for goal, index, episode_return, _ in rows:
            expected.setdefault(goal, {}).setdefault(index, episode_return)
        fresh = ReturnStore(Path(folder)).open({"weights": "w"})
        for reader in (store, fresh):
            assert {g: reader.get(g) for g in expected} == expected
            assert reader.missing(["a", "b/1", "ü"], 4) == [
                (g, i) for g in ["a", "b/1", "ü"] for i in range(4) if i not in expected.get(g, {})
            ]
