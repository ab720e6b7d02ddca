"""The command `python -m webshop_rl.evaluate`, from a trained run to record, table and MLflow."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.paths import REPOSITORY
from tests.support.shop5_parts import SMALL, run_here
from webshop_rl.evaluate.__main__ import main

NAME = "0123456789ab"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one small run of four updates, checkpoints at 2 and 4."""
    root = tmp_path_factory.mktemp("evaluate")
    _, folder = run_here(
        root, NAME, *SMALL, "num_updates=4", "algo.group_size=4", "checkpoint.every=2",
        "evaluation.every=2", "evaluation.val_episodes=5", "evaluation.test_episodes=10", "lr=1e-4",
    )  # fmt: skip
    (folder / "signature.json").write_text(json.dumps({"signature": NAME}))
    return root


def records(folder: Path, policy: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "episodes" / f"{policy}.jsonl").read_text().splitlines()]


def evaluations(root: Path) -> set[Path]:
    return set((root / "evaluations").glob("*")) if (root / "evaluations").is_dir() else set()


def evaluated(root: Path, *words: str) -> Path:
    """The folder of a new evaluation."""
    before = evaluations(root)
    assert main([words[0], f"root={root}", "tracking=journal", *words[1:]]) == 0
    (folder,) = evaluations(root) - before
    return folder


def test_a_run_alone_does_what_it_did_in_its_own_test(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = root / "runs" / NAME
    before = evaluations(root)
    folder = evaluated(root, NAME, "episodes=10")
    for policy in ("test", "baseline_random", "baseline_first", "baseline_rule"):
        assert records(folder, policy) == records(run, policy)
        assert (
            len(json.loads((folder / "tables" / f"{policy}.json").read_text())["data"]) == 5
        )  # a row a goal
    result = json.loads((folder / "result.json").read_text())
    assert result["policies"]["test"] == json.loads((run / "result.json").read_text())["policies"]["test"]
    output = capsys.readouterr().out
    assert f"on record: {folder}" in output.replace("\n", "")
    # The same command again plays nothing, rerun=true does.
    stamp = (folder / "episodes/test.jsonl").stat().st_mtime_ns
    # --root, as the commands that read records have it, is root= here.
    assert main([NAME, "--root", str(root), "tracking=journal", "episodes=10"]) == 0
    assert "on record already" in capsys.readouterr().out
    assert (folder / "episodes/test.jsonl").stat().st_mtime_ns == stamp
    assert evaluations(root) - before == {folder}
    again = evaluated(root, NAME, "episodes=10", "rerun=true")
    assert again.name == f"{folder.name}-r1"
    assert records(again, "test") == records(run, "test")


def test_best_is_the_default_and_any_checkpoint_can_be_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = sorted((root / "runs" / NAME / "checkpoints").iterdir())
    best = json.loads((root / "runs" / NAME / "result.json").read_text())["best_update"]
    found = {}
    for checkpoint in checkpoints:
        folder = evaluated(root, str(checkpoint), "episodes=5", "split=val", "temperature=1")
        rows = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
        steps = {row["step"] for row in rows if row["kind"] == "metrics"}
        found[int(checkpoint.name.removeprefix("update_"))] = folder
        assert steps == {int(checkpoint.name.removeprefix("update_"))}
        assert {key for row in rows if row["kind"] == "metrics" for key in row["metrics"]} >= {
            "val/success", "val/score", "baseline/rule/success",
        }  # fmt: skip
    capsys.readouterr()
    words = [f"root={root}", "tracking=journal", "episodes=5", "split=val", "temperature=1"]
    assert main([NAME, *words]) == 0
    output = capsys.readouterr().out.replace("\n", "")
    assert "on record already" in output
    assert found[best].name in output


def test_a_run_in_another_shop_keeps_its_own_words(root: Path) -> None:
    # With distractors the instructions are longer; the vocabulary stays that of the shop it was trained in.
    folder = evaluated(root, NAME, "env.distractors=2", "episodes=5")
    assert "but not" in records(folder, "test")[0]["instruction"]


def test_weights_that_do_not_fit_are_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([NAME, f"root={root}", "tracking=journal", "model.hidden_size=64"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "the weights do not fit" in lines[0]


def test_a_scripted_policy_is_recorded_in_mlflow(root: Path) -> None:
    # However slow the machine is: MLflow may take a minute to make its database.
    words = ["rule", f"root={root}", "episodes=10", "env.max_steps=4", "tracking.final_sync_s=250"]
    assert main(words) == 0
    with sqlite3.connect(root / "mlflow.db") as database:
        runs = database.execute("select run_uuid, name, status from runs").fetchall()
        assert [(name, status) for _, name, status in runs] == [("evaluate rule on shop5 test", "FINISHED")]
        metrics = dict(database.execute("select key, value from latest_metrics"))
        tags = dict(database.execute("select key, value from tags"))
        ended = database.execute("select end_time from runs").fetchone()
    assert "rule | 1.000" in tags["mlflow.note.content"]
    # The same again is on record already, and its duration stays what it was.
    assert main(words) == 0
    with sqlite3.connect(root / "mlflow.db") as database:
        assert database.execute("select end_time from runs").fetchone() == ended
    assert metrics["baseline/rule/success"] == 1.0
    assert not any(key.startswith(("test/", "val/")) for key in metrics)
    assert (tags["kind"], tags["target"], tags["split"]) == ("evaluation", "rule", "test")


def test_a_bare_model_and_a_model_in_a_folder(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [word for word in SMALL if word.startswith("model.")]
    folder = evaluated(root, "tiny", *small, "env.max_steps=3", "episodes=5", "--watch", "1")
    first, *others = records(folder, "test")
    assert len(others) == 4
    assert f"── episode 1 of 5: {first['goal']}" in capsys.readouterr().out
    local = save_local_model(tmp_path / "llama")
    folder = evaluated(
        root, str(local), "env.max_steps=3", "episodes=5", "rollout.decoding=free",
        "rollout.max_reply_tokens=4", "split=all",
    )  # fmt: skip
    assert {record["end"] for record in records(folder, "all")} == {"max_steps"}


def save_local_model(folder: Path) -> Path:
    """A Llama with random weights and a tokenizer of bytes, as save_pretrained writes them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: i for i, character in enumerate(["<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=2048,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["nothing_of_this_name"],
        ["tiny", "split=dev"],
        ["tiny", "env.foo=1"],
        ["rule", "episodes=0"],
    ],
)
def test_help_and_bad_arguments_are_answered_without_torch(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom webshop_rl.evaluate.__main__ import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        "assert 'torch' not in sys.modules\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == (0 if words == ["--help"] else 2), done.stderr
    if words != ["--help"]:
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("error: ")
    assert not list(tmp_path.iterdir())
