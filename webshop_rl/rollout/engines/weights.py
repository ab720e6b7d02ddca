"""A policy's weights as a Hugging Face folder that an engine loads, and loads again after each update."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from webshop_rl.models.network import PolicyNetwork

_FILE: Final = "model.safetensors"
SHARED_MEMORY: Final = Path("/dev/shm")

Stamp = tuple[object, ...]


def stamp(network: PolicyNetwork) -> Stamp:
    """Differs from an earlier one if a weight was written to since, or an adapter was turned on or off.

    PyTorch counts what is written to a tensor; nothing is read.
    """
    # Of a layer with adapters it is a property; a model of transformers has a method of that name.
    off = any(getattr(module, "disable_adapters", False) is True for module in network.modules())
    return id(network), off, tuple(parameter._version for parameter in network.parameters())


def write_config(network: PolicyNetwork, folder: Path) -> None:
    """The architecture, as from_pretrained reads it; a tied output layer has weights of its own here.

    vLLM on a CPU packs the output layer apart, and a tied one would keep those that it was first loaded with.
    """
    config = copy.deepcopy(network.causal_lm.config)
    config.architectures = [type(network.causal_lm).__name__]
    config.tie_word_embeddings = False
    config.save_pretrained(folder)


def write_weights(network: PolicyNetwork, folder: Path) -> None:
    """The weights as they are now; whoever has the former file open goes on reading that."""
    part = folder / f".{_FILE}.part"
    model = network.causal_lm
    with torch.no_grad():
        tensors = {name: tensor.cpu().contiguous() for name, tensor in _tensors(model)}
        head = model.get_output_embeddings()
        (name,) = [f"{name}.weight" for name, module in model.named_modules() if module is head]
        tensors.setdefault(name, head.weight.detach().cpu().clone())
    save_file(tensors, part, metadata={"format": "pt"})
    os.replace(part, folder / _FILE)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters by the names that they have without adapters, which are merged; tied ones once."""
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            continue
        module: Any = None
        if ".base_layer." in name:
            module = model.get_submodule(name.rpartition(".base_layer.")[0])
        value = parameter.detach()
        if module is not None and name.endswith(".weight") and not module.disable_adapters:
            for adapter in module.active_adapters:
                value = (value.float() + module.get_delta_weight(adapter).float()).to(value.dtype)
        yield name.replace(".base_layer.", "."), value
