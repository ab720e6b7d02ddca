"""What stored reference returns are said to be, by hand, and the command that prints it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from webshop_rl.values.__main__ import main
from webshop_rl.values.store import KeyedReturns, ReturnStore, Sample
from webshop_rl.values.summary import summarise

NAMES = {"shop": "shop5", "model": "tiny", "stages": []}


def stored(root: Path, returns: dict[str, list[float]], *, shop: str = "s") -> KeyedReturns:
    """Returns that are scores as well."""
    key = {"shop": shop, "model": "m", "temperature": "1.0", "seed": "0", "code": "c"}
    store = ReturnStore(root).open(key)
    store.add([Sample(goal, i, r, r) for goal, values in returns.items() for i, r in enumerate(values)])
    return store


FOUR = {"never": [0.0] * 4, "always": [1.0] * 4, "half": [1.0, 0.0, 1.0, 0.0], "partly": [0.5, 0.5, 0.5, 0.0]}


def test_the_summary_of_four_goals(tmp_path: Path) -> None:
    found = summarise(stored(tmp_path, FOUR), sorted(FOUR), estimator="mean", beta=0.5)
    assert (found.num_goals, found.num_samples, found.fewest, found.most) == (4, 16, 4, 4)
    assert found.return_mean == found.vstar_mean == pytest.approx((0 + 1 + 0.5 + 0.375) / 4)
    assert found.success == pytest.approx((0 + 1 + 0.5 + 0) / 4)
    # Standard deviations 0, 0, 1/2, and of .5 .5 .5 0: sqrt(.1875 - .140625)
    assert found.spread == pytest.approx((0.5 + math.sqrt(0.046875)) / 4)
    assert (found.all_fail, found.all_succeed, found.all_equal) == (0.5, 0.25, 0.5)
    assert found.vstar_std == pytest.approx(math.sqrt(((0 + 1 + 0.25 + 0.140625) / 4) - 0.46875**2))


def test_what_fewer_samples_would_give(tmp_path: Path) -> None:
    """Of one goal with half the samples a success, the max of two drawn is 3/4 on average, of all it is 1."""
    found = summarise(stored(tmp_path, {"half": FOUR["half"]}), ["half"], estimator="max", beta=0.5)
    four, two = found.few
    assert (four.num_samples, two.num_samples) == (4, 2)  # 8 are more than there are
    assert two.bias == pytest.approx(-0.25, abs=0.08)
    assert four.bias == pytest.approx(-(0.5**4), abs=0.05)
    assert two.std == pytest.approx(math.sqrt(0.75 * 0.25), abs=0.05)
    assert (four.all_fail, two.all_fail) == (0.5**4, 0.5**2)
    assert (four.all_equal, two.all_equal) == (2 * 0.5**4, 2 * 0.5**2)
    # The mean is not biased, and numbers do not change from call to call.
    means = summarise(stored(tmp_path, {"half": FOUR["half"]}), ["half"], estimator="mean", beta=0.5)
    assert all(few.bias == pytest.approx(0, abs=0.06) for few in means.few)
    assert summarise(stored(tmp_path, {"half": FOUR["half"]}), ["half"], estimator="max", beta=0.5) == found


def test_the_command_prints_shops_and_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    stored(tmp_path / "vstar", FOUR).note_configuration("x", NAMES)
    staged = {f"{stage}/{goal}": values for stage in ("easy", "hard") for goal, values in FOUR.items()}
    ladder = {"shop": "stages6", "model": "tiny", "stages": ["easy", "hard", "unseen"]}
    stored(tmp_path / "vstar", staged, shop="t").note_configuration("y", ladder)
    assert main(["show", "--root", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["shop"] for row in rows] == ["shop5", "stages6: easy", "stages6: hard"]
    assert [row["num_goals"] for row in rows] == [4, 4, 4]
    assert main(["show", "--root", str(tmp_path), "--estimator", "mean"]) == 0
    output = capsys.readouterr().out
    assert "0.469 (0.358)" in output
    assert output.count("stages6: hard") == 3  # a row of the first table, two of the second


def test_an_empty_store_and_a_bad_beta_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "--root", str(tmp_path)]) == 2
    assert "contains no reference returns" in capsys.readouterr().err
    assert main(["show", "--beta", "-1"]) == 2
    assert "--beta: -1 is out of range" in capsys.readouterr().err
