"""V* after an edit of the shop: refused, reused or sampled again, by real runs from a copied tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.sweep_command import copy_checkout
from webshop_rl.tracking.rows import read_rows

QUICK = ("debug=quick", "num_updates=1", "model.hidden_size=32", "model.num_layers=2", "hardware.threads=1")


def launch(source: Path, root: Path, *overrides: str) -> tuple[int, str]:
    flags = [word for word in overrides if word.startswith("-")]
    keys = [*QUICK, "tracking=journal", f"root={root}", *(w for w in overrides if w not in flags)]
    done = subprocess.run(
        [sys.executable, str(source / "launch.py"), *flags, *keys],
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "COLUMNS": "200"},
        cwd=root.parent,
    )
    return done.returncode, done.stdout + done.stderr


def run_with(root: Path, lr: float) -> Path:
    """Folder of the run with a learning rate."""
    (folder,) = (
        file.parent
        for file in (root / "runs").glob("*/signature.json")
        if json.loads(file.read_text())["fields"]["lr"] == lr
    )
    return folder


def mean_vstar(folder: Path) -> list[float]:
    rows: list[dict[str, Any]] = [r for r in read_rows(folder / "journal.jsonl") if r["kind"] == "metrics"]
    return [row["metrics"]["vstar/mean"] for row in rows if "vstar/mean" in row["metrics"]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "checkout").mkdir()
    return copy_checkout(tmp_path / "checkout")


@pytest.mark.timeout(900)
def test_an_edited_shop_gives_other_samples_and_the_user_decides(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "root"
    code, output = launch(source, root, "lr=1e-6")
    assert code == 0, output
    shop = source / "webshop_rl/envs/shop5/catalogue.py"
    text = shop.read_text()
    assert text.count("if words & set(product.name.split())") == 1
    # Of "red shoes" a search must now hold both words, and nothing else.
    shop.write_text(text.replace("if words & set(", "if words == set("))

    code, output = launch(source, root, "lr=2e-6")
    assert code == 2, output
    (line,) = output.strip().splitlines()
    assert line.startswith("error: on_code_change: reference returns of V* were sampled with other code")
    assert [f.parent for f in (root / "runs").glob("*/signature.json")] == [run_with(root, 1e-6)]
    code, output = launch(source, root, "-m", "lr=2e-6,3e-6")  # a sweep, too
    assert (code, "error: on_code_change: reference returns" in output) == (2, True), output

    code, output = launch(source, root, "lr=2e-6", "on_code_change=reuse")
    assert code == 0, output
    assert "V* reuses reference returns of other code" in output
    assert mean_vstar(run_with(root, 2e-6)) == mean_vstar(run_with(root, 1e-6))
    old = json.loads((run_with(root, 1e-6) / "result.json").read_text())["vstar"]
    reused = json.loads((run_with(root, 2e-6) / "result.json").read_text())["vstar"]
    assert old["reused_code"] == ""
    assert reused["reused_code"] == old["code"] != reused["code"]

    code, output = launch(source, root, "lr=3e-6", "on_code_change=rerun")
    assert code == 0, output
    assert mean_vstar(run_with(root, 3e-6)) != mean_vstar(run_with(root, 1e-6))
