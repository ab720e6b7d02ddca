"""Configuration of the two kinds of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webshop_rl.config.fields import choice, ranged
from webshop_rl.config.groups import ModelConfig
from webshop_rl.errors import UserError
from webshop_rl.models.locate import check_weights


@dataclass
class TinyConfig(ModelConfig):
    """Schema of conf/model/tiny.yaml.

    Attributes:
        pointer: an output that copies tokens of the transcript (models/pointer.py).
        smear: each token's embedding is mixed with that of the token before.
        init: normal (standard deviation 0.02) | fan_in (1 / sqrt of a layer's inputs).
        whole_furniture: words that views and prompts say of themselves are whole tokens, however rare.
    """

    _target_: str = "webshop_rl.models.tiny.load_tiny"
    hidden_size: int = ranged(ge=8)
    num_layers: int = ranged(ge=1)
    num_heads: int = ranged(ge=1)
    max_vocabulary: int = ranged(ge=64)
    pointer: bool = ranged()
    smear: bool = ranged()
    init: str = choice("normal", "fan_in")
    whole_furniture: bool = ranged()

    @staticmethod
    def check(group: Mapping[str, Any]) -> None:
        """See that the network can be built. Raises: UserError if not."""
        heads, hidden = group["num_heads"], group["hidden_size"]
        if hidden % heads or hidden // heads % 2:
            raise UserError(
                f"{heads} heads do not fit model.hidden_size={hidden}",
                where="model.num_heads",
                remedy="hidden_size / num_heads must be a whole, even number",
            )

    @staticmethod
    def check_with(config: Mapping[str, Any]) -> None:
        """See that what samples can compute the network. Raises: UserError if not."""
        parts = [f"model.{part}" for part in ("pointer", "smear") if config["model"][part]]
        if parts and config["rollout"]["engine"] != "native":
            raise UserError(
                f"{config['rollout']['engine']} cannot compute {' and '.join(parts)}",
                where="rollout.engine",
                remedy=f"rollout.engine=native, or {' '.join(f'{part}=false' for part in parts)}",
            )

    @staticmethod
    def misfit(group: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        """Compares width, number of layers, and which parts there are."""
        width = next((shape[-1] for name, shape in shapes.items() if "embed_tokens" in name), 0)
        layers = len({name.partition(".layers.")[2].partition(".")[0] for name in shapes} - {""})
        found = {
            "hidden_size": width,
            "num_layers": layers,
            "pointer": any(name.startswith("pointer.") for name in shapes),
            "smear": any(name.startswith("smear.") for name in shapes),
        }
        differing = [f"{key}={value}" for key, value in found.items() if group[key] != value]
        return ", ".join(differing) or None

    @staticmethod
    def check_export(group: Mapping[str, Any], *, adapter: bool) -> None:
        """A plain tiny model is a Llama; one that copies is not, and an adapter has no base to be loaded."""
        parts = " and ".join(f"model.{part}" for part in ("pointer", "smear") if group[part])
        if parts:
            raise UserError(
                "no class of Hugging Face computes it: what from_pretrained loaded would act otherwise",
                where=parts,
                remedy="webshop-rl evaluate RUN plays the run, init_from=RUN starts from it",
            )
        ModelConfig.check_export(group, adapter=adapter)
        if adapter:
            raise UserError(
                "the adapter's base has random weights that only this platform makes",
                where="--adapter",
                remedy="leave it out: the merged model needs no base",
            )


@dataclass
class PretrainedConfig(ModelConfig):
    """Schema of the pretrained models."""

    _target_: str = "webshop_rl.models.pretrained.load_pretrained"
    path: str = ranged(place="path")
    gguf_file: str | None = ranged()
    revision: str | None = ranged()
    attention: str = choice("sdpa", "eager", "flash_attention_2")

    @staticmethod
    def check_with(config: Mapping[str, Any]) -> None:
        """See that nothing is asked for that only the tiny model can. Raises: UserError if it is."""
        if config["rollout"]["rename"] > 0:
            raise UserError(
                f"the words of {config['model']['name']} cannot be renamed: its tokens are pieces of words",
                where="rollout.rename",
                remedy="rollout.rename=0, or model=tiny",
            )

    @staticmethod
    def check_export(group: Mapping[str, Any], *, adapter: bool) -> None:
        """An adapter names its base, which from_pretrained must be able to load by that name alone."""
        ModelConfig.check_export(group, adapter=adapter)
        if adapter and group["gguf_file"] is not None:
            raise UserError(
                "the adapter's base is a GGUF file, which from_pretrained does not find by itself",
                where="--adapter",
                remedy="leave it out: the merged model needs no base",
            )

    @staticmethod
    def find(group: Mapping[str, Any]) -> Mapping[str, Any]:
        """See that the weights can be had, and which they are. Raises: UserError if not."""
        commit = check_weights(group["name"], group["path"], group["gguf_file"], group["revision"])
        return {"revision": commit}
