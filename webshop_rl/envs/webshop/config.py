"""Settings of the real WebShop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webshop_rl.config.fields import choice, ranged
from webshop_rl.config.groups import EnvConfig
from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.catalogue import look
from webshop_rl.errors import UserError


@dataclass
class WebshopConfig(EnvConfig):
    """Schema of conf/env/webshop.yaml, whose comments explain the values.

    Attributes:
        data_dir: folder of the original data files, or what webshop-rl prepare makes of it.
        num_products: the first so many products of the catalogue; None for all.
        goals: "synthetic" (made from product attributes and options) or "human" (written by people).
        train_goals: "given", or "generated": in training, goals for products that have none beside them.
        split: "product" (no product in two splits), "published" (the literature's) or "none" (every goal
            in every split).
        reward: what a step pays. "score": WebShop's score at the purchase; "binary": 1 if it is 1, else
            0; "shaped": the score plus shaping_search, once an episode, when a page of results shows the
            target product, plus shaping_open, once an episode, when the target's page is opened.
        fidelity: "original" keeps the numbered oddities of the original, "fixed" corrects them.
        mode: how pages are printed.
        max_steps: actions after which an episode is truncated.
        show_attributes: whether product pages offer the sub-page "Attributes".
    """

    _target_: str = "webshop_rl.envs.webshop.shop.WebShop"
    data_dir: str | None = ranged(place="folder")
    num_products: int | None = ranged(ge=1)
    goals: str = choice("synthetic", "human")
    train_goals: str = choice("given", "generated")
    split: str = choice("product", "published", "none")
    reward: str = choice("score", "binary", "shaped")
    fidelity: str = choice("original", "fixed")
    mode: str = choice("text", "text_rich")
    shaping_search: float = ranged(ge=0, le=1)
    shaping_open: float = ranged(ge=0, le=1)
    show_attributes: bool = ranged()

    @staticmethod
    def check_with(config: Mapping[str, Any]) -> None:
        """Refuse to pay for the same twice. Raises: UserError if the reward is shaped already."""
        if config["env"]["reward"] == "shaped" and config["rollout"]["shaping"]["kind"] != "none":
            raise UserError(
                "env.reward=shaped pays for finding and opening the target already",
                where="rollout.shaping.kind",
                remedy="env.reward=score",
            )

    @staticmethod
    def find(group: Mapping[str, Any]) -> Mapping[str, Any]:
        """See that the data files are there and start as they should. Raises: UserError if not."""
        look(files.data_folder(group["data_dir"]), num_products=group["num_products"])
        return {}
