"""Pretrained models: from the hub, from a local folder, or from a GGUF file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from webshop_rl.errors import UserError
from webshop_rl.models.agent import Agent, add_lora
from webshop_rl.models.chat_codec import ChatCodec
from webshop_rl.models.locate import locate
from webshop_rl.models.network import PolicyNetwork

BLOCK_BYTES, NUM_BLOCKS = 1 << 18, 512  # at most 128 MiB are read of a file of weights


def load_pretrained(
    *,
    texts: Iterable[str],
    furniture: Iterable[str],
    critic: bool,
    name: str,
    path: str,
    gguf_file: str | None,
    revision: str | None,
    lr_scale: float,
    init_seed: int,
    context_tokens: int,
    max_page_tokens: int,
    dtype: str,
    gradient_checkpointing: bool,
    micro_batch_tokens: int,
    product_labels: str,
    attention: str,
    lora: dict[str, Any],
) -> Agent:
    """Load a pretrained model; arguments are the keys of conf/model/<name>.yaml.

    Args:
        texts, furniture: not used; the vocabulary is the tokenizer's own.
        critic: whether the algorithm needs a value head.
        micro_batch_tokens: not used; optim.micro_batch_tokens refers to it.
    Raises: UserError if the weights are not where the configuration says.
    """
    source, options = locate(name, path, gguf_file, revision)
    try:
        with _bars_on_terminals_only():
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model: Any = AutoModelForCausalLM.from_pretrained(
                source, dtype=getattr(torch, dtype), attn_implementation=attention, **options
            )
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot load the weights: {str(error).splitlines()[0]}",
            where=f"model.path={path}",
            remedy="give a local folder with model.path=..., or a hub name on a machine that reaches the hub",
        ) from error
    if options.get("gguf_file"):
        # The file's quantised weights are plain by now; transformers would refuse to save them as such.
        model.hf_quantizer.remove_quantization_config(model)
    model.requires_grad_(True)
    if gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    if lora["enabled"]:
        model = add_lora(model, lora, init_seed)
    codec = ChatCodec(tokenizer)
    return Agent(
        name=name,
        network=PolicyNetwork(model, codec.vocab_size, critic=critic),
        codec=codec,
        fingerprint=fingerprint(source, options, dtype),
        lr_scale=lr_scale,
        context_tokens=min(context_tokens, int(model.config.max_position_embeddings)),
        product_labels=product_labels,
        max_page_tokens=max_page_tokens,
    )


def _bars_on_terminals_only() -> contextlib.AbstractContextManager[object]:
    """Loading draws progress bars on stderr; a log file must not hold a thousand of their states."""
    return contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())


def fingerprint(source: str, options: dict[str, Any], dtype: str) -> str:
    """Digest of what a pretrained model is: the content of local files, else the hub's name and commit.

    Every file counts that may decide what the model reads or writes, the chat template and all that
    tokenizers are kept in among them; hidden files and descriptions do not.
    """
    digest = hashlib.sha256(dtype.encode())
    folder = Path(source)
    if folder.is_dir():
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_file() and not _decides_nothing(name):
                digest.update(f"{name}:{file.stat().st_size}".encode())
                for block in _blocks(file):
                    digest.update(block)
    else:
        digest.update(f"{source}@{options.get('revision')}".encode())
    return digest.hexdigest()[:16]


def _decides_nothing(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return hidden or name.endswith(".md") or name.startswith("LICENSE")


def _blocks(file: Path) -> Iterator[bytes]:
    """Blocks spread over a file, all of a small one.

    The beginning alone would not do: a fine-tune often leaves the embeddings, which stand first.
    """
    size = file.stat().st_size
    last = max(0, size - BLOCK_BYTES)
    with file.open("rb") as stream:
        for k in range(min(NUM_BLOCKS, -(-size // BLOCK_BYTES))):
            stream.seek(last * k // (NUM_BLOCKS - 1) if size > NUM_BLOCKS * BLOCK_BYTES else k * BLOCK_BYTES)
            yield stream.read(BLOCK_BYTES)
