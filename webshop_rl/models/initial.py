"""Weights that a run starts from in place of random or pretrained ones (init_from)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file

from webshop_rl.errors import UserError
from webshop_rl.interface.codec import vocabulary_digest
from webshop_rl.models.agent import Agent
from webshop_rl.storage.weights import read_header

VOCABULARY: Final = "vocabulary"  # note in a file of weights: digest of the vocabulary they were learnt with
_CRITIC: Final = "value_head."


def notes_of(agent: Agent) -> dict[str, str]:
    """What a file of the agent's weights says of them."""
    return {"model": agent.name, VOCABULARY: vocabulary_digest(agent.codec)}


def start_from(agent: Agent, weights: Path) -> Agent:
    """The agent with weights from a file; a critic keeps its own if the file has none.

    The agent's fingerprint, which names the reference policy, becomes one of the weights.
    Raises: UserError if they are of another vocabulary or of a network of another shape.
    """
    header = read_header(weights)
    if header.notes.get(VOCABULARY) != vocabulary_digest(agent.codec):
        raise UserError(
            f"the weights were learnt with another vocabulary: {weights}",
            where="init_from",
            remedy="use their shop (env.data_dir, env.num_products) and model.max_vocabulary",
        )
    parameters = dict(agent.network.named_parameters())
    wanted = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    found = {name: shape for name, shape in header.shapes.items() if name in wanted or _CRITIC not in name}
    lacking = {name for name in wanted.keys() - found.keys() if _CRITIC not in name}
    other = {name for name in found if wanted.get(name) != found[name]}
    if lacking or other:
        raise UserError(
            f"the weights are of another model, e.g. in {min(lacking | other)}: {weights}",
            where="init_from",
            remedy="use the keys of model= that they were trained with",
        )
    tensors = load_file(weights)
    with torch.no_grad():
        for name in found:
            parameters[name].copy_(tensors[name])
    content = hashlib.sha256(weights.read_bytes()).hexdigest()
    fingerprint = hashlib.sha256(f"{agent.fingerprint} {content}".encode()).hexdigest()[:16]
    return replace(agent, fingerprint=fingerprint)
