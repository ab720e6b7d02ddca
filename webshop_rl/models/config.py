"""Configuration of models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from webshop_rl.errors import UserError
from webshop_rl.models.locate import check_weights
from webshop_rl.ranges import choice, ranged


@dataclass
class LoraConfig:
    """Low-rank adapters; the reference policy is then the same weights with the adapter off.

    There is no dropout: a policy samples without it, so with it the learner would take the gradient of
    another policy than the one that acted, and another at each size of micro-batch and number of processes.
    """

    enabled: bool = False
    rank: int = ranged(16, ge=1)
    alpha: float = ranged(32.0, gt=0)
    target_modules: Any = "all-linear"


@dataclass
class ModelConfig:
    """Keys every model has."""

    name: str = "???"
    lr_scale: float = ranged(1.0, gt=0)
    init_seed: int = ranged(0, ge=0)
    context_tokens: int = ranged(2048, ge=64)
    max_page_tokens: int = ranged(512, ge=16)
    dtype: str = choice("float32", "bfloat16", default="float32")
    gradient_checkpointing: bool = False
    micro_batch_tokens: int = ranged(16384, ge=1)
    product_labels: str = choice("asin", "rank", default="asin")
    lora: LoraConfig = field(default_factory=LoraConfig)


@dataclass
class TinyConfig(ModelConfig):
    """Schema of conf/model/tiny.yaml."""

    _target_: str = "webshop_rl.models.tiny.load_tiny"
    hidden_size: int = ranged(128, ge=8)
    num_layers: int = ranged(4, ge=1)
    num_heads: int = ranged(4, ge=1)
    max_vocabulary: int = ranged(4096, ge=64)

    @staticmethod
    def preflight(group: dict[str, Any]) -> None:
        """See that the network can be built. Raises: UserError if not."""
        heads, hidden = group["num_heads"], group["hidden_size"]
        if hidden % heads or hidden // heads % 2:
            raise UserError(
                f"{heads} heads do not fit model.hidden_size={hidden}",
                where="model.num_heads",
                remedy="hidden_size / num_heads must be a whole, even number",
            )


@dataclass
class PretrainedConfig(ModelConfig):
    """Schema of the pretrained models."""

    _target_: str = "webshop_rl.models.pretrained.load_pretrained"
    path: str = "???"
    gguf_file: str | None = None
    revision: str | None = None
    attention: str = choice("sdpa", "eager", "flash_attention_2", default="sdpa")

    @staticmethod
    def preflight(group: dict[str, Any]) -> dict[str, Any]:
        """See that the weights can be had, and which they are. Raises: UserError if not."""
        commit = check_weights(group["name"], group["path"], group["gguf_file"], group["revision"])
        return {"revision": commit}


SCHEMAS = {"tiny": TinyConfig, "pretrained": PretrainedConfig}
