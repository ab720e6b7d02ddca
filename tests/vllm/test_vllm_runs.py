"""Whole runs with vLLM as the sampler, by the command that users give (make test-vllm)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("vllm", reason="needs vLLM: make test-vllm")

from tests.support.paths import REPOSITORY
from tests.support.shop5_parts import curve

TINY = (
    "rollout.engine=vllm", "tracking=journal", "hardware.threads=1", "env.max_steps=4",
    "model.hidden_size=64", "model.num_layers=2", "model.num_heads=2",
)  # fmt: skip
SHORT = (
    "algo.goals_per_update=2", "algo.group_size=4", "vstar.num_samples=2", "evaluation.every=3",
    "evaluation.val_episodes=2", "evaluation.test_episodes=2",
)  # fmt: skip
# One process: vLLM and PyTorch are imported once.
TOGETHER = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}


def launch(root: Path, *overrides: str, together: bool = True) -> subprocess.Popen[str]:
    command = [sys.executable, "launch.py", f"root={root}", *overrides]
    environment = {**os.environ, **(TOGETHER if together else {})}
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def only_run(root: Path) -> Path:
    (folder,) = (path.parent for path in root.glob("runs/*/journal.jsonl"))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three updates, with adapters and with V* of the model without them."""
    root = tmp_path_factory.mktemp("vllm") / "runs"
    adapters = ("model.lora.enabled=true", "model.lora.rank=4", "lr=1e-4")
    process = launch(root, *TINY, *SHORT, *adapters, "algo=apo_pg", "num_updates=3")
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    return only_run(root)


def test_a_run_of_three_updates_learns_from_what_vllm_sampled(trained: Path) -> None:
    gaps = curve(trained, "sampler/gap_max")
    assert list(gaps) == [1, 2, 3]
    assert 0 < max(gaps.values()) < 1e-4  # float32: the adapters of each update were handed over
    assert set(curve(trained, "sampler/truncated_frac").values()) == {0.0}
    assert not curve(trained, "health/sampler_differs")
    result = json.loads((trained / "result.json").read_text())
    assert result["num_updates"] == 3
    assert not list(Path("/dev/shm").glob("webshop-rl-engine-*"))


def test_an_exported_run_is_served_by_vllm(trained: Path, tmp_path: Path) -> None:
    """Greedy replies to a text, by tokenizer and chat template, are those of from_pretrained's model."""
    folder = tmp_path / "exported"
    export = [sys.executable, "-m", "webshop_rl", "export", str(trained), "--out", str(folder)]
    subprocess.run(export, cwd=REPOSITORY, check=True, capture_output=True, timeout=600)
    serve = [sys.executable, "-m", "tests.vllm.serve_folder", str(folder)]
    done = subprocess.run(
        serve, cwd=REPOSITORY, env={**os.environ, **TOGETHER}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    served, loaded = json.loads(done.stdout.splitlines()[-1])
    assert len(served) == 8
    assert served == loaded


def test_a_killed_engine_is_one_line(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    process = launch(root, *TINY, *SHORT, "algo=grpo", "num_updates=2000", together=False)
    try:
        deadline = time.monotonic() + 600
        while (
            not any(root.glob("runs/*/updates.log"))
            and process.poll() is None
            and time.monotonic() < deadline
        ):
            time.sleep(1)
        children = psutil.Process(process.pid).children(recursive=True)
        (engine,) = [child for child in children if "EngineCore" in " ".join(child.cmdline())]
        engine.kill()
        said, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode not in (0, -9)
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "vLLM's process is gone" in line
    assert "rollout.engine=vllm" in line
    assert "Traceback" not in said
    status = json.loads((only_run(root) / "status.json").read_text())
    assert status["state"] == "failed"
    assert "vLLM's process is gone" in status["error"]
    psutil.wait_procs(children, timeout=60)
    assert not any(child.is_running() for child in children)


@pytest.mark.smollm2
def test_real_weights_have_the_learners_log_probs(tmp_path: Path) -> None:
    if not any((REPOSITORY / "models_cache/smollm2").glob("*.gguf")):
        pytest.skip("SmolLM2's weights are not here: make smollm2")
    root = tmp_path / "runs"
    smollm2 = (
        "rollout.engine=vllm", "tracking=journal", "model=smollm2_135m", "env.max_steps=3", "num_updates=1",
        "algo=grpo", "model.context_tokens=1024", "rollout.batch_size=8", "hardware.threads=null",
    )  # fmt: skip
    process = launch(root, *smollm2, *SHORT)
    said, _ = process.communicate(timeout=1500)
    assert process.returncode == 0, said
    assert 0 < curve(only_run(root), "sampler/gap_max")[1] < 2e-3
    assert curve(only_run(root), "sampler/gap_mean")[1] < 1e-4
