"""The paired difference and its interval, against a bootstrap spelled out."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from webshop_rl.evaluation.evaluator import Evaluation
from webshop_rl.evaluation.intervals import compare, paired_difference


def records(scores: list[float], products: list[str]) -> list[dict[str, Any]]:
    return [
        {"goal": f"g{i}", "sample": 0, "asin": asin, "score": score}
        for i, (score, asin) in enumerate(zip(scores, products, strict=True))
    ]


def test_mean_is_over_episodes_and_products_are_resampled() -> None:
    """Three products of 1, 2 and 3 episodes: all 27 resamples are enumerated."""
    products = ["a", "b", "b", "c", "c", "c"]
    ours, theirs = [1.0, 0.5, 0.5, 0.0, 0.3, 0.9], [0.0, 0.5, 0.1, 0.2, 0.3, 0.4]
    found = paired_difference(records(ours, products), records(theirs, products))
    assert found.value == pytest.approx((1.0 + 0.0 + 0.4 - 0.2 + 0.0 + 0.5) / 6)
    assert found.num == 3
    sums, counts = {"a": 1.0, "b": 0.4, "c": 0.3}, {"a": 1, "b": 2, "c": 3}
    resamples = sorted(
        sum(sums[p] for p in drawn) / sum(counts[p] for p in drawn)
        for drawn in itertools.product("abc", repeat=3)
    )
    # With 27 equally likely values the 2.5 % and 97.5 % points are the smallest and the largest.
    assert found.low == pytest.approx(resamples[0])
    assert found.high == pytest.approx(resamples[-1])


def test_interval_is_that_of_a_plain_bootstrap_over_products() -> None:
    rng = np.random.default_rng(0)
    products = [f"p{i}" for i in range(40) for _ in range(1 + i % 3)]
    shared = {p: rng.normal() for p in products}
    ours = [0.2 + shared[p] + rng.normal() for p in products]
    theirs = [rng.normal() for _ in products]
    found = paired_difference(records(ours, products), records(theirs, products))
    differences = np.array(ours) - np.array(theirs)
    names = sorted(set(products))
    members = {p: [i for i, q in enumerate(products) if q == p] for p in names}
    means = []
    for _ in range(4000):
        drawn = [i for p in rng.choice(names, len(names)) for i in members[p]]
        means.append(differences[drawn].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05)
    by_episode = 1.96 * differences.std() / np.sqrt(len(differences))
    assert found.high - found.low > 2.1 * by_episode  # 2.0 if goals of a product did not resemble each other


def test_sign_and_repetition() -> None:
    products = [f"p{i}" for i in range(20)]
    better, worse = records([1.0] * 15 + [0.0] * 5, products), records([0.0] * 20, products)
    found = paired_difference(better, worse)
    assert found.value == 0.75
    assert 0 < found.low < found.value < found.high < 1
    assert paired_difference(better, worse) == found
    mirrored = paired_difference(worse, better)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=0.06)


def test_one_product_gives_no_interval_and_equal_products_a_point() -> None:
    one = paired_difference(records([1.0, 0.0], ["a", "a"]), records([0.0, 0.0], ["a", "a"]))
    assert (one.value, one.low, one.high) == (0.5, None, None)
    same = paired_difference(records([1.0, 1.0], ["a", "b"]), records([0.0, 0.0], ["a", "b"]))
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)


def test_episodes_that_are_not_paired_are_refused() -> None:
    a, b = records([1.0, 0.0], ["a", "b"]), records([1.0, 0.0], ["a", "b"])
    with pytest.raises(ValueError, match="not paired"):
        paired_difference(a, b[::-1])
    with pytest.raises(ValueError, match="not paired"):
        paired_difference(a, b[:1])
    b[1]["sample"] = 1
    with pytest.raises(ValueError, match="not paired"):
        paired_difference(a, b)


def test_the_first_evaluation_is_set_beside_the_others() -> None:
    def evaluation(name: str, scores: list[float]) -> Evaluation:
        played = [
            record | {"success": record["score"] == 1, "return": 0.0, "end": "bought", "turns": []}
            for record in records(scores, ["a", "b"])
        ]
        return Evaluation(name, f"the {name}", played)

    result = compare("t", [evaluation("test", [1.0, 0.5]), evaluation("untrained", [0.5, 0.0])])
    assert json.loads(json.dumps(result)) == result
    assert (result["title"], result["main"]) == ("t", "test")
    assert result["labels"] == {"test": "the test", "untrained": "the untrained"}
    assert result["policies"]["untrained"]["score"] == 0.25
    # Of two products each is drawn twice a quarter of the time: the interval is from end to end.
    assert result["intervals"]["test"]["success"] == {"value": 0.5, "low": 0.0, "high": 1.0, "num": 2}
    assert result["main_minus"] == {"untrained": {"value": 0.5, "low": 0.5, "high": 0.5, "num": 2}}
