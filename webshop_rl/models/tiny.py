"""The embedded default: a small Llama with random weights and the shop's own words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from webshop_rl.models.agent import Agent, add_lora
from webshop_rl.models.memory import memory_advice
from webshop_rl.models.network import PolicyNetwork
from webshop_rl.models.tiny_codec import TinyCodec


def load_tiny(
    *,
    texts: Iterable[str],
    critic: bool,
    name: str,
    lr_scale: float,
    init_seed: int,
    context_tokens: int,
    max_page_tokens: int,
    dtype: str,
    gradient_checkpointing: bool,
    micro_batch_tokens: int,
    product_labels: str,
    lora: dict[str, Any],
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    max_vocabulary: int,
) -> Agent:
    """Build the tiny model; arguments are the keys of conf/model/tiny.yaml.

    Args:
        texts: every text of the shop, for the vocabulary.
        critic: whether the algorithm needs a value head.
        micro_batch_tokens: not used; optim.micro_batch_tokens refers to it.
    """
    texts = list(texts)
    codec = TinyCodec(texts, max_vocabulary)
    config = LlamaConfig(
        vocab_size=codec.vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        max_position_embeddings=context_tokens,
        tie_word_embeddings=True,
        pad_token_id=codec.pad,
        bos_token_id=None,
        eos_token_id=codec.end,
    )
    # Global random state is left as it was: what the model is depends on init_seed alone.
    smaller = "give a smaller model.hidden_size, model.num_layers or model.max_vocabulary"
    with torch.random.fork_rng(devices=[]), memory_advice("building the model", smaller):
        torch.manual_seed(init_seed)
        model: Any = LlamaForCausalLM(config).to(getattr(torch, dtype))
    if gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    if lora["enabled"]:
        model = add_lora(model, lora, init_seed)
    made_of = [texts, max_vocabulary, hidden_size, num_layers, num_heads, init_seed, dtype]
    return Agent(
        name=name,
        network=PolicyNetwork(model, codec.vocab_size, critic=critic),
        codec=codec,
        fingerprint=hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16],
        lr_scale=lr_scale,
        context_tokens=context_tokens,
        product_labels=product_labels,
        max_page_tokens=max_page_tokens,
    )
