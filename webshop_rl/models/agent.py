"""A model ready to act: its network, its codec and what its configuration says of both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from webshop_rl.interface.codec import StoredCodec
from webshop_rl.models.network import PolicyNetwork


@dataclass
class Agent:
    """Network and codec.

    Attributes:
        name: name of the model.
        fingerprint: digest of what the initial weights are made from; names the reference policy.
        lr_scale: the learning rate in use is `lr` times this.
        context_tokens: longest transcript.
        max_page_tokens: a longer page is cut at its end, visibly.
        product_labels: how results are shown, "asin" or "rank".
    """

    name: str
    network: PolicyNetwork
    codec: StoredCodec
    fingerprint: str
    lr_scale: float
    context_tokens: int
    max_page_tokens: int
    product_labels: str

    @property
    def has_adapters(self) -> bool:
        """Whether the reference policy is this network with its adapters off."""
        return hasattr(self.network.model, "disable_adapter")

    @contextlib.contextmanager
    def adapters_off(self) -> Iterator[None]:
        """Within: the network is the reference policy."""
        with self.network.model.disable_adapter():
            yield


def add_lora(model: torch.nn.Module, settings: dict[str, object], seed: int) -> torch.nn.Module:
    """Wrap a causal LM with low-rank adapters; all other weights are frozen.

    Args:
        settings: the keys of model.lora.
        seed: of the adapters' random half (the other half is zero, so the policy is unchanged).
    """
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wrapped: torch.nn.Module = get_peft_model(
            model,
            LoraConfig(
                r=settings["rank"],
                lora_alpha=settings["alpha"],
                target_modules=settings["target_modules"],
                task_type="CAUSAL_LM",
            ),
        )
        return wrapped
