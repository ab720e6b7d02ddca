"""Which commit a hub model is, resolved at launch; hub and cache are the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import RevisionNotFoundError

from tests.support.shop5_parts import composed
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import freeze
from webshop_rl.models.locate import hub_commit
from webshop_rl.models.pretrained import fingerprint

OLD, NEW, OTHER = "a" * 40, "b" * 40, "c" * 40
MODEL = "somebody/model"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub's cache, empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    hub_commit.cache_clear()
    yield tmp_path / "hub" / "models--somebody--model"
    hub_commit.cache_clear()


def downloaded(cache: Path, commit: str, **refs: str) -> None:
    """As huggingface_hub leaves it: a snapshot by commit, and refs that name commits."""
    (cache / "snapshots" / commit).mkdir(parents=True)
    (cache / "snapshots" / commit / "config.json").write_text("{}")
    (cache / "refs").mkdir(exist_ok=True)
    for name, target in refs.items():
        (cache / "refs" / name).write_text(target)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str | None]]:
    """Put a hub in place: revision to commit, or an error; returns the revisions it is asked for."""

    def place(answer: dict[str | None, str] | Exception) -> list[str | None]:
        asked: list[str | None] = []

        def model_info(self: HfApi, path: str, *, revision: str | None, timeout: float) -> Any:
            asked.append(revision)
            if isinstance(answer, Exception):
                raise answer
            if revision not in answer:
                raise RevisionNotFoundError(
                    "no such revision", response=SimpleNamespace(headers={}, request=None)
                )  # type: ignore[arg-type]
            return SimpleNamespace(sha=answer[revision])

        monkeypatch.setattr(HfApi, "model_info", model_info)
        return asked

    return place


def revision_of_a_launch(*overrides: str) -> Any:
    frozen = freeze(composed("model=qwen2_5_0_5b", f"model.path={MODEL}", *overrides))
    assert frozen.fields["model.revision"] == frozen.config["model"]["revision"]
    return frozen.fields["model.revision"]


def test_null_is_the_commit_the_hub_is_at(cache: Path, hub: Any) -> None:
    downloaded(cache, OLD, main=OLD)  # the hub has moved on since
    asked = hub({None: NEW, "v1": OTHER})
    assert revision_of_a_launch() == NEW
    assert revision_of_a_launch("lr=1e-4") == NEW
    assert asked == [None]  # once a process
    assert revision_of_a_launch("model.revision=v1") == OTHER


def test_a_hub_that_moves_on_is_another_run_and_another_reference(hub: Any) -> None:
    hub({None: OLD})
    before = freeze(composed("model=qwen2_5_0_5b", f"model.path={MODEL}"))
    hub_commit.cache_clear()
    hub({None: NEW})
    after = freeze(composed("model=qwen2_5_0_5b", f"model.path={MODEL}"))
    assert before.signature != after.signature
    commits = ({"revision": OLD}, {"revision": NEW})
    assert len({fingerprint(MODEL, commit, "float32") for commit in commits}) == 2


def test_a_commit_in_the_cache_needs_no_hub(cache: Path, hub: Any) -> None:
    downloaded(cache, OLD)
    asked = hub(ConnectionError("no route"))
    assert revision_of_a_launch(f"model.revision={OLD}") == OLD
    assert asked == []


@pytest.mark.parametrize("offline", [True, False], ids=["offline", "unreachable"])
def test_without_a_hub_the_caches_commit_counts(
    cache: Path, hub: Any, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    downloaded(cache, OLD, main=NEW)
    downloaded(cache, NEW)
    hub(ConnectionError("no route"))
    assert revision_of_a_launch() == NEW
    with pytest.raises(UserError):
        revision_of_a_launch("model.revision=v1")


def test_neither_hub_nor_cache_is_one_line(hub: Any) -> None:
    hub(ConnectionError("no route"))
    with pytest.raises(UserError) as caught:
        revision_of_a_launch()
    assert str(caught.value).startswith(
        f"model.path={MODEL}: the hub does not answer (ConnectionError) (give "
    )
    assert "\n" not in str(caught.value)
    hub({})
    with pytest.raises(UserError, match="the hub has no such model"):
        revision_of_a_launch("model.revision=nowhere")
