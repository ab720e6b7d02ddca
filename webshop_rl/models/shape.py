"""The size of a model by its configuration, without building it. Imports no torch: a launch asks for it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from webshop_rl.errors import UserError


@dataclass(frozen=True)
class Shape:
    """The size of a transformer: layers, hidden, feed-forward, key-value width, vocabulary.

    added: square matrices [hidden, hidden] outside the layers, without adapters.
    """

    layers: int
    hidden: int
    feed_forward: int
    key_value: int
    vocabulary: int
    added: int = 0

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer: four attention and three feed-forward matrices."""
        h, k, f = self.hidden, self.key_value, self.feed_forward
        return 2 * h * h + 2 * h * k + 3 * h * f

    @property
    def parameters(self) -> int:
        """Of the whole model, with one matrix for embedding and output."""
        outside = self.vocabulary * self.hidden + self.added * self.hidden**2
        return self.layers * self.layer_parameters + outside

    def adapter_parameters(self, rank: int) -> int:
        """Of low-rank adapters on all linear layers."""
        h, k, f = self.hidden, self.key_value, self.feed_forward
        return self.layers * rank * (2 * (h + h) + 2 * (h + k) + 3 * (h + f))


SMALL_PARAMETERS = 10_000_000

# The models of conf/model, by what their names hold; from their published configurations.
_KNOWN = {
    "smollm2_135m": Shape(30, 576, 1536, 192, 49152),
    "qwen2_5_0_5b": Shape(24, 896, 4864, 128, 151936),
    "qwen2_5_1_5b": Shape(28, 1536, 8960, 256, 151936),
    "qwen2_5_3b": Shape(36, 2048, 11008, 256, 151936),
    "qwen2_5_7b": Shape(28, 3584, 18944, 512, 152064),
}


def model_shape(model: Mapping[str, Any]) -> Shape | None:
    """From the keys of a model built here, a local folder's config.json, or a known name."""
    if "hidden_size" in model:
        h = int(model["hidden_size"])
        # As models/tiny.py builds it; its vocabulary is the shop's, this many words at most.
        added = 2 * bool(model.get("pointer")) + bool(model.get("smear"))
        return Shape(int(model["num_layers"]), h, 2 * h, h, int(model["max_vocabulary"]), added)
    found = Path(str(model.get("path") or "")).expanduser() / "config.json"
    if found.is_file():
        return _published(json.loads(found.read_text()))
    key = re.sub(r"[^a-z0-9]+", "_", f"{model.get('path') or ''} {model['name']}".lower())
    return next((shape for name, shape in _KNOWN.items() if name in key), None)


def most_threads(model: Mapping[str, Any]) -> int | None:
    """How many threads of a CPU a model has a use for; None: as many as it is given.

    Two save a small model nothing on idle cores; where one core is busy they take twice as long.
    """
    shape = model_shape(model)
    return 1 if shape is not None and shape.parameters < SMALL_PARAMETERS else None


def _published(config: Mapping[str, Any]) -> Shape:
    heads = int(config["num_attention_heads"])
    width = int(config.get("head_dim") or config["hidden_size"] // heads)
    return Shape(
        int(config["num_hidden_layers"]),
        int(config["hidden_size"]),
        int(config["intermediate_size"]),
        int(config.get("num_key_value_heads") or heads) * width,
        int(config["vocab_size"]),
    )


def check_fits(model: Mapping[str, Any]) -> None:
    """See that a model may fit on this machine: what is sure to fail is refused before there is a run.

    Args:
        model: the keys of its group.
    Raises: UserError if the layers' weights alone are more than the memory.
    """
    shape = model_shape(model)
    if shape is None:
        return
    weights = shape.layers * shape.layer_parameters * (2 if model["dtype"] == "bfloat16" else 4)
    memory = psutil.virtual_memory().total
    if weights > memory:
        raise UserError(
            f"its layers weigh {weights / 1e9:,.0f} GB, and this machine's memory is {memory / 1e9:,.0f} GB",
            where="model",
            remedy="a smaller one",
        )
