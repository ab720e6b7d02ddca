"""Tracking settings: absolute URIs, and the files of the config group."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from tests.support.paths import CONF
from tests.support.tracking import destination
from webshop_rl.config.fields import facts_on, violation
from webshop_rl.config.groups import TrackingConfig
from webshop_rl.errors import UserError
from webshop_rl.tracking.config import (
    Destination,
    default_uri,
    sqlite_path,
    tracker_uri,
)


@pytest.mark.parametrize("name", ["mlflow", "journal"])
def test_config_file_sets_every_field_within_its_range(name, tmp_path):
    values = yaml.safe_load((CONF / "tracking" / f"{name}.yaml").read_text())
    assert values.pop("defaults") == ["/base_tracking", "_self_"]
    assert set(values) == {f.name for f in fields(TrackingConfig)}
    for field in fields(TrackingConfig):
        assert violation(values[field.name], facts_on(field)) is None
    assert Destination(TrackingConfig(**values), tmp_path, "x").mirrored == (name == "mlflow")


def test_default_tracker_is_an_absolute_sqlite_file_whatever_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracker_uri(None, Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert sqlite_path(tracker_uri("sqlite:///a.db", Path("runs"))) == tmp_path / "a.db"


def test_server_url_is_kept():
    assert tracker_uri("http://host:5000/", Path("runs")) == "http://host:5000"


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "ftp://x", "sqlite://", "databricks"])
def test_a_uri_mlflow_cannot_track_to_is_refused(uri):
    with pytest.raises(UserError, match="cannot track"):
        tracker_uri(uri, Path("runs"))


def test_records_name_the_roots_own_tracker_without_its_place(tmp_path):
    own = destination(tmp_path, default_uri(tmp_path))
    assert own.recorded_uri == ""
    assert tracker_uri(own.recorded_uri, tmp_path / "moved") == default_uri(tmp_path / "moved")
    other = destination(tmp_path, "sqlite:////elsewhere/a.db")
    assert other.recorded_uri == other.uri
