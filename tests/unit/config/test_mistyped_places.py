"""A place that is mistyped or empty is an error: nothing is made there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from tests.support.tracking import destination
from webshop_rl.config import register, validate
from webshop_rl.config.hydra_adapter import CONF
from webshop_rl.errors import UserError
from webshop_rl.tracking import serve, sync
from webshop_rl.tracking.prepare import check_tracker


def test_an_empty_root_is_refused() -> None:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=["root="])
    with pytest.raises(UserError, match=r"^root: is empty"):
        validate(cfg)


def test_a_database_in_no_folder_makes_none(tmp_path: Path) -> None:
    settings = destination(tmp_path / "runs", f"sqlite:///{tmp_path}/nowhere/a.db")
    with pytest.raises(UserError, match=r"^tracking\.uri: .*nowhere: no such folder"):
        check_tracker(settings)
    assert list(tmp_path.iterdir()) == []


def test_a_new_root_is_made(tmp_path: Path) -> None:
    root = tmp_path / "new"
    check_tracker(destination(root, f"sqlite:///{root}/mlflow.db"))
    assert root.is_dir()


def test_no_server_over_a_root_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_serve", lambda _: 0)  # else a failure of this test would start a server
    root = tmp_path / "typo"
    assert serve.main(["--root", str(root), "--port", "0"]) == 2
    assert capsys.readouterr().err == f"error: --root {root}: no such folder (make it first)\n"
    assert not root.exists()


def test_sync_says_that_it_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sync.main([str(tmp_path / "typo")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
