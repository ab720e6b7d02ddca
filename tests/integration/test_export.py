"""The command `webshop-rl export`: what Hugging Face's own classes make of a checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from tests.support.shop5_parts import SMALL, Parts, build, composed
from tests.support.small_tokenizer import small_tokenizer
from webshop_rl.distributed.ranks import trained_tensors
from webshop_rl.errors import UserError
from webshop_rl.evaluation.records import episode_record
from webshop_rl.export import folder as export_folder
from webshop_rl.export.__main__ import main
from webshop_rl.models.initial import VOCABULARY, notes_of
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.weights import WEIGHTS
from webshop_rl.training.checkpoint import write_checkpoint

LORA, TINY, COPIES, OTHER = "aaaa11112222", "bbbb11112222", "cccc11112222", "dddd11112222"
PLAYED = ("env.max_steps=3", "rollout.max_query_words=2", "evaluation.temperature=0.7")
RESULT = {
    "title": "a title",
    "main": "test",
    "labels": {"test": "trained policy", "baseline/rule": "rule"},
    "policies": {
        name: {
            "success": 0.5, "score": 0.625, "episode_turns": 3.0, "invalid_frac": 0.0,
            "success_by_product": 0.5, "score_by_product": 0.625, "effective_products": 5.0,
        }
        for name in ("test", "baseline/rule")
    },
    "intervals": {
        name: {
            "success": {"value": 0.5, "low": 0.25, "high": 0.75, "num": 5},
            "score": {"value": 0.625, "low": 0.375, "high": 0.875, "num": 5},
        }
        for name in ("test", "baseline/rule")
    },
    "main_minus": {"baseline/rule": {"value": 0.0, "low": -0.125, "high": 0.125, "num": 5}},
    "best_update": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Qwen2 with random weights, as from a hub."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = small_tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer) + 7, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True,
        initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _keys(base: Path) -> dict[str, tuple[str, ...]]:
    lora = ("model=qwen2_5_0_5b", f"model.path={base}", "model.dtype=float32", "model.lora.enabled=true")
    copies = ("model.pointer=true", "model.smear=true")
    return {LORA: lora, TINY: (*SMALL, "algo=ppo"), COPIES: (*SMALL, *copies), OTHER: SMALL}


@pytest.fixture(scope="module")
def trained(base: Path) -> dict[str, Parts]:
    """Policies with opinions: LoRA on the base, tiny models with and without a critic, one that copies."""
    return {
        name: build(*keys, *PLAYED, small=(), sharpen=1.0 if name == LORA else 5.0)
        for name, keys in _keys(base).items()
    }


@pytest.fixture(scope="module")
def root(trained: dict[str, Parts], base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their runs: the best checkpoint is of update 1, the last of update 2, its weights half as large."""
    root = tmp_path_factory.mktemp("root")
    for name, keys in _keys(base).items():
        run = RunFolder(root / "runs" / name)
        network = trained[name].agent.network
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for part, parameter in network.named_parameters():
                if "lora_B" in part:  # zero before training
                    parameter.normal_(0, 0.3, generator=generator)
        notes = notes_of(trained[name].agent) | ({VOCABULARY: "0" * 16} if name == OTHER else {})
        tensors = trained_tensors(network)
        for update, factor in ((1, 1.0), (2, 0.5)):
            weights = {part: tensor * factor for part, tensor in tensors.items()}
            write_checkpoint(run.checkpoints, update, weights, None, {"best_update": 1}, notes)
        OmegaConf.save(composed(*keys, *PLAYED), run.config, resolve=True)
        identity = {"signature": name, "code_digest": "c0de", "fields": {"lr": 1e-3}}
        run.signature.write_text(json.dumps(identity))
        run.result.write_text(json.dumps(RESULT))
    return root


@pytest.fixture(scope="module")
def exported(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of the runs that can be exported."""
    out = tmp_path_factory.mktemp("out")
    for name in (LORA, TINY):
        assert main([name, f"root={root}", "--out", str(out / name)]) == 0
    return {name: out / name for name in (LORA, TINY)}


def _played(parts: Parts) -> list[dict[str, Any]]:
    return [episode_record(trajectory) for trajectory in parts.collect(4)]


@pytest.mark.parametrize("name", [LORA, TINY])
def test_what_hugging_face_loads_plays_the_same_episodes(
    trained: dict[str, Parts], exported: dict[str, Path], name: str
) -> None:
    # How much of a page is read, and what results are called, are keys of a model's file, not its weights.
    model = trained[name].cfg.model
    own = [f"model.{key}={getattr(model, key)}" for key in ("max_page_tokens", "product_labels")]
    again = build(
        "model=pretrained", f"model.path={exported[name]}", *own, *PLAYED, small=(), sharpen=1.0,
    )  # fmt: skip
    assert _played(again) == _played(trained[name])


def test_merged_weights_are_the_base_and_the_best_checkpoint(
    root: Path, base: Path, exported: dict[str, Path]
) -> None:
    best = load_file(RunFolder(root / "runs" / LORA).checkpoints / "update_000001" / WEIGHTS)
    merged = load_file(exported[LORA] / "model.safetensors")
    part = "model.layers.1.mlp.down_proj"
    a, b = (best[f"model.base_model.model.{part}.lora_{x}.default.weight"] for x in "AB")
    # conf/model/pretrained.yaml: alpha 32, rank 16, so B A is doubled.
    before = load_file(base / "model.safetensors")[f"{part}.weight"]
    torch.testing.assert_close(merged[f"{part}.weight"], before + 2 * b @ a)


def test_adapters_alone_act_as_the_merged_model(
    root: Path, exported: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    # --root, as the commands that read records have it, is root= here.
    assert main([LORA, "--root", str(root), "--out", str(out), "--adapter"]) == 0
    assert not (out / "model.safetensors").exists()
    ids = torch.tensor([AutoTokenizer.from_pretrained(out).encode("i want red shoes")])
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (out, exported[LORA])]
    with torch.no_grad():
        ours, merged = (model(input_ids=ids).logits for model in models)
    torch.testing.assert_close(ours, merged, atol=1e-4, rtol=1e-4)
    assert "library_name: peft" in (out / "README.md").read_text()


def test_another_checkpoint_by_its_folder(root: Path, exported: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    last = RunFolder(root / "runs" / TINY).checkpoints / "update_000002"
    assert main([str(last), "--out", str(out)]) == 0
    embedding = "model.embed_tokens.weight"
    best = load_file(exported[TINY] / "model.safetensors")[embedding]
    assert torch.equal(load_file(out / "model.safetensors")[embedding], 0.5 * best)
    # What was measured is of the best checkpoint alone.
    assert "no test of update 2" in (out / "README.md").read_text()
    assert json.loads((out / "webshop_rl.json").read_text())["result"] is None


@pytest.mark.parametrize("name", [LORA, TINY])
def test_the_chat_template_makes_the_frames_of_training(
    trained: dict[str, Parts], exported: dict[str, Path], name: str
) -> None:
    codec = trained[name].agent.codec
    frames = codec.frame_opening("be brief", "i want red shoes")
    frames += [*codec.encode("search[red shoes]"), codec.end]
    frames += codec.frame_page("[SEP] red shoes $45", reply_ended=True)
    conversation = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "i want red shoes"},
        {"role": "assistant", "content": "search[red shoes]"},
        {"role": "user", "content": "[SEP] red shoes $45"},
    ]
    tokenizer = AutoTokenizer.from_pretrained(exported[name])
    text = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    assert tokenizer.encode(text, add_special_tokens=False) == frames


def test_generation_ends_and_samples_as_the_policy(
    trained: dict[str, Parts], exported: dict[str, Path]
) -> None:
    for name, folder in exported.items():
        generation = json.loads((folder / "generation_config.json").read_text())
        assert generation["eos_token_id"] == trained[name].agent.codec.end
        assert generation["do_sample"] is True
        assert generation["temperature"] == 0.7  # evaluation.temperature


def test_the_card_has_splits_results_and_intervals(
    root: Path, trained: dict[str, Parts], exported: dict[str, Path]
) -> None:
    card = (exported[TINY] / "README.md").read_text()
    shop = trained[TINY].shop
    assert shop.split_digest() in card
    assert shop.digest() in card
    assert "0.625 [0.375, 0.875]" in card
    assert "+0.000 [-0.125, +0.125]" in card
    assert str(root) not in card  # a card is for others: no paths of this machine
    record = json.loads((exported[TINY] / "webshop_rl.json").read_text())
    assert (record["split_digest"], record["fields"]) == (shop.split_digest(), {"lr": 1e-3})
    assert record["result"] == RESULT


def test_of_an_unfinished_run_it_says_so(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(root / "runs" / TINY)
    there = tmp_path / "runs" / TINY
    shutil.copytree(run.path, there)
    RunFolder(there).result.unlink()
    assert main([str(there), "--out", str(tmp_path / "out")]) == 0
    assert "the run is not finished" in capsys.readouterr().out
    assert (
        "no test of update 1; `webshop-rl evaluate` of this folder"
        in (tmp_path / "out/README.md").read_text()
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((COPIES,), "model.pointer and model.smear: no class of Hugging Face computes it"),
        ((OTHER,), "learnt with another vocabulary"),
        ((TINY, "--adapter"), "--adapter: the run trained the whole model"),
        ((TINY, "lr=1"), "lr=1: a run is exported as it was trained"),
        ((TINY, "env=webshop"), "env=webshop: a run is exported as it was trained"),
        (("tiny",), "tiny: not a trained run"),
        (("rule",), "rule: not a trained run"),
        (("nosuch",), "nosuch: no such run"),
        ((TINY, "--out", "{root}"), "is there already"),
        ((TINY, "--out", "{root}/runs/" + TINY + "/config.yaml/out"), "out: cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    given = [word.format(root=root) for word in words]
    assert main(["--out", str(tmp_path / "out"), *given, f"root={root}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not any(tmp_path.iterdir())


def test_a_killed_export_leaves_no_folder_and_the_next_clears_up(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [TINY, f"root={root}", "--out", str(out)]
    child = os.fork()
    if child == 0:
        export_folder.sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        try:
            main(words)
        finally:
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.")
    assert main(words) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_exports_to_one_folder_do_not_mix(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ours = export_folder._new_folder(out)
    part = ours.__enter__()
    (part / "README.md").write_text("ours")
    export_folder._sweep_away(out)  # what another export does first
    assert part.is_dir()
    out.mkdir()
    (out / "README.md").write_text("theirs")
    with pytest.raises(UserError, match="is there already"):
        ours.__exit__(None, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "README.md").read_text() == "theirs"
