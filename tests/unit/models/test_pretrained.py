"""The path of pretrained models, on a Llama of two layers that the test writes to disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.support.agreement import assert_agreement
from tests.support.shop5_parts import Parts, build, composed
from tests.support.small_tokenizer import small_tokenizer
from webshop_rl.build import build_agent, build_shop
from webshop_rl.config.load import as_typed
from webshop_rl.errors import UserError
from webshop_rl.models import pretrained
from webshop_rl.models.config import PretrainedConfig
from webshop_rl.models.pretrained import fingerprint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = small_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 7,  # padded, as real ones are
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1500,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load(weights: Path, *overrides: str) -> Parts:
    return build(
        "model=qwen2_5_0_5b", f"model.path={weights}", "model.dtype=float32", *overrides,
        sharpen=1.0, small=("env.max_steps=3",),
    )  # fmt: skip


@pytest.mark.parametrize(
    "overrides",
    [
        ("rollout.decoding=admissible",),
        ("rollout.decoding=free", "rollout.max_reply_tokens=12", "rollout.temperature=0.7"),
        ("rollout.decoding=admissible", "rollout.think=true", "rollout.max_think_tokens=8"),
        ("rollout.history=window:2", "rollout.queries=window", "view=compact"),
    ],
    ids=["admissible", "free", "think", "window, compact"],
)
@pytest.mark.parametrize("lora", [False, True], ids=["full", "LoRA"])
def test_sampler_and_learner_agree_on_a_chat_model(
    weights: Path, overrides: tuple[str, ...], lora: bool
) -> None:
    parts = load(weights, *overrides, f"model.lora.enabled={lora}")
    trajectories = parts.collect(4)
    assert_agreement(parts, trajectories, 1, 10**6)
    for segment in (s for t in trajectories for s in t.segments):
        # Nothing beyond the tokenizer, and no role mark inside a reply.
        said = {t for t, is_action in zip(segment.tokens, segment.action, strict=True) if is_action}
        assert max(said) < parts.agent.codec.vocab_size
        assert not said & parts.agent.codec.special


def test_one_step_with_adapters_and_gradient_checkpointing(weights: Path) -> None:
    parts = load(weights, "model.lora.enabled=true", "model.gradient_checkpointing=true", "algo.kl_coef=0.1")
    trajectories = parts.collect(3)
    before = {n: p.detach().clone() for n, p in parts.agent.network.named_parameters()}
    learner = parts.learner(lr=1e-2)
    metrics = next(learner.learn(trajectories, [0.1 * i for i in range(3)], 0)).metrics
    assert metrics["optim/grad_norm"] > 0
    changed = {n for n, p in parts.agent.network.named_parameters() if not torch.equal(before[n], p)}
    assert changed
    assert all("lora_" in name for name in changed)


def test_adapters_do_not_change_the_policy_before_the_first_step(weights: Path) -> None:
    plain, adapted = load(weights), load(weights, "model.lora.enabled=true")
    a, b = plain.collect(3), adapted.collect(3)
    assert [s.tokens for t in a for s in t.segments] == [s.tokens for t in b for s in t.segments]
    assert plain.agent.fingerprint == adapted.agent.fingerprint


def test_context_is_no_longer_than_the_model_was_made_for(weights: Path) -> None:
    assert load(weights).agent.context_tokens == 1500
    assert load(weights, "model.context_tokens=300").agent.context_tokens == 300


def test_bfloat16_runs(weights: Path) -> None:
    parts = build(
        "model=qwen2_5_0_5b", f"model.path={weights}", "algo=ppo", "algo.num_epochs=1",
        sharpen=1.0, small=("env.max_steps=2",),
    )  # fmt: skip
    trajectories = parts.collect(2)
    assert next(parts.learner().learn(trajectories, None, 0)).metrics["algo/ratio_mean"] == pytest.approx(
        1, abs=0.1
    )


def one_line(caught: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused(*overrides: str) -> str:
    """What a launch says before anything is built."""
    with pytest.raises(UserError) as caught:
        composed(*overrides)
    return one_line(caught)


def not_loaded(path: str, weights: Path) -> str:
    """What a worker says if the weights went away between launch and start."""
    cfg = as_typed(composed("model=qwen2_5_0_5b", f"model.path={weights}"))
    assert isinstance(cfg.model, PretrainedConfig)
    cfg.model.path = path
    with pytest.raises(UserError) as caught:
        build_agent(cfg.model, build_shop(cfg.env), critic=False, device=CPU)
    return one_line(caught)


def test_a_hub_that_cannot_be_reached_is_one_line(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refused("model=qwen2_5_0_5b", "model.path=nobody/no-such-model")
    assert "model.path=nobody/no-such-model" in message
    assert "local folder" in message
    message = not_loaded("nobody/no-such-model", weights)
    assert message.startswith("model.path=nobody/no-such-model: cannot load the weights")
    assert "local folder" in message


def test_what_is_missing_is_told_with_its_remedy(tmp_path: Path, weights: Path) -> None:
    assert "make smollm2" in refused("model=smollm2_135m", f"model.path={tmp_path}")
    assert "config.json" in refused("model=qwen2_5_0_5b", f"model.path={tmp_path}")
    assert "no such folder" in refused("model=qwen2_5_0_5b", "model.path=/no/such/folder")
    assert "no such folder" in not_loaded("/no/such/folder", weights)


def test_a_folder_without_weights_is_one_line(weights: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((weights / name).read_bytes())
    assert "cannot load the weights" in not_loaded(str(tmp_path), weights)


def test_fingerprint_follows_the_weights_wherever_they_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "BLOCK_BYTES", 16)
    monkeypatch.setattr(pretrained, "NUM_BLOCKS", 8)
    file = tmp_path / "model.safetensors"
    for size in (1, 15, 16, 17, 100, 128):  # small files are read whole
        seen = set()
        for changed in (None, 0, size // 2, size - 1):
            content = bytearray(size)
            if changed is not None:
                content[changed] = 1
            file.write_bytes(content)
            seen.add((bytes(content), fingerprint(str(tmp_path), {}, "float32")))
        assert len({digest for _, digest in seen}) == len({content for content, _ in seen})
    # A large one at blocks from its beginning to its end.
    size, seen_at = 1000, []
    file.write_bytes(bytes(size))
    zero = fingerprint(str(tmp_path), {}, "float32")
    for changed in range(size):
        content = bytearray(size)
        content[changed] = 1
        file.write_bytes(content)
        if fingerprint(str(tmp_path), {}, "float32") != zero:
            seen_at.append(changed)
    assert len(seen_at) == 8 * 16
    assert (seen_at[0], seen_at[-1]) == (0, size - 1)
    assert fingerprint(str(tmp_path), {}, "bfloat16") != zero
    assert fingerprint("a/b", {}, "float32") != fingerprint("a/b", {"revision": "1"}, "float32")


def test_everything_that_decides_a_reply_is_in_the_fingerprint(weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights, tmp_path / "model")
    files = (
        "chat_template.jinja", "vocab.txt", "merges.txt", "spiece.model", "tokenizer.json", "config.json",
        "additional_chat_templates/tool.jinja", "model.safetensors", "qwen.tiktoken",
    )  # fmt: skip
    seen = {fingerprint(str(tmp_path / "model"), {}, "float32")}
    for number, name in enumerate(files, start=2):
        file = tmp_path / "model" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes((file.read_bytes() if file.exists() else b"") + b" ")
        seen.add(fingerprint(str(tmp_path / "model"), {}, "float32"))
        assert len(seen) == number, name
    for name in ("README.md", ".gitattributes", ".cache/huggingface/download/x.lock", "LICENSE"):
        file = tmp_path / "model" / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text("words")
    assert fingerprint(str(tmp_path / "model"), {}, "float32") in seen


def test_an_edited_chat_template_is_another_model_to_vstar(weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights, tmp_path / "model")
    template = tmp_path / "model/chat_template.jinja"
    assert template.is_file()  # transformers keeps it there, not in tokenizer_config.json
    before = load(tmp_path / "model")
    template.write_text(template.read_text().replace("\n", "\n\n", 1) + "\n")
    after = load(tmp_path / "model")
    assert before.acting.key(before.agent, before.shop) != after.acting.key(after.agent, after.shop)
