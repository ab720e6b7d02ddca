"""The embedded default: a small Llama with random weights and the shop's own words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from webshop_rl.interface.prompts import FURNITURE
from webshop_rl.models.agent import Agent, add_lora
from webshop_rl.models.memory import memory_advice
from webshop_rl.models.network import PolicyNetwork
from webshop_rl.models.pointer import Pointer, Smear
from webshop_rl.models.tiny_codec import TinyCodec


def load_tiny(
    *,
    texts: Iterable[str],
    furniture: Iterable[str],
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
    pointer: bool,
    smear: bool,
    init: str,
    whole_furniture: bool,
) -> Agent:
    """Build the tiny model; arguments are the keys of conf/model/tiny.yaml.

    Args:
        texts: every text of the shop, for the vocabulary.
        furniture: what pages say besides instructions and products; its words are never renamed.
        critic: whether the algorithm needs a value head.
        micro_batch_tokens: not used; optim.micro_batch_tokens refers to it.
    """
    texts = list(texts)
    whole = FURNITURE if whole_furniture else ()
    codec = TinyCodec(texts, max_vocabulary, [*furniture, *FURNITURE], whole)
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
        std = config.initializer_range
        if init == "fan_in":
            std = hidden_size**-0.5
            _fan_in(model)
        copying = Pointer(hidden_size, std).to(getattr(torch, dtype)) if pointer else None
        mixing = Smear(hidden_size, std).to(getattr(torch, dtype)) if smear else None
    if gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    if lora["enabled"]:
        model = add_lora(model, lora, init_seed)
        for part in (copying, mixing):
            if part is not None:
                part.requires_grad_(False)  # the reference is this network with its adapters off
    made_of = [texts, max_vocabulary, hidden_size, num_layers, num_heads, init_seed, dtype]
    made_of += [pointer, smear, init, list(whole)]
    return Agent(
        name=name,
        network=PolicyNetwork(model, codec.vocab_size, critic=critic, pointer=copying, smear=mixing),
        codec=codec,
        fingerprint=hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16],
        lr_scale=lr_scale,
        context_tokens=context_tokens,
        product_labels=product_labels,
        max_page_tokens=max_page_tokens,
    )


def _fan_in(model: nn.Module) -> None:
    """Weights of standard deviation 1 / sqrt(inputs), so that what a layer puts out is of order 1.

    Llama's 0.02 is meant for thousands of inputs; with 64 each layer would say a sixth of that. The
    embedding is the output layer too, which has hidden_size inputs.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
