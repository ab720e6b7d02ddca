"""Settings of the stages of the ladder: the real shop's, and what its catalogue is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webshop_rl.config.fields import choice, ranged
from webshop_rl.envs.webshop.config import WebshopConfig
from webshop_rl.errors import UserError


@dataclass
class LadderConfig(WebshopConfig):
    """Schema of conf/env/stage1.yaml, whose comments explain the values.

    Attributes:
        mock_products: generated products on sale.
        real_products: real products on sale, the easiest that have an instruction; None for all there are.
        catalogue_seed: of the generated products.
        product_codes: whether generated products have codes of ten characters, or short ones (P01).
        split: "product" (no product in two splits), "instruction" (ways of asking are held out, of training
            products) or "none" (every goal in every split).
    """

    _target_: str = "webshop_rl.envs.ladder.shop.stage_shop"
    mock_products: int = ranged(ge=0)
    real_products: int | None = ranged(ge=0)
    catalogue_seed: int = ranged(ge=0)
    product_codes: bool = ranged()
    goals: str = choice("synthetic")
    split: str = choice("product", "instruction", "none")

    @staticmethod
    def check(group: Mapping[str, Any]) -> None:
        """Raises: UserError if nothing is on sale, or if instructions are to be held out of real products."""
        if group["mock_products"] == 0 and group["real_products"] == 0:
            raise UserError("nothing is on sale", where="env.mock_products", remedy="give a number above 0")
        if group["split"] == "instruction" and group["real_products"] != 0:
            raise UserError(
                "real products are asked for in one way", where="env.split", remedy="env.split=product"
            )

    @staticmethod
    def find(group: Mapping[str, Any]) -> Mapping[str, Any]:
        """See that the real shop's files are there, where a folder is named and real products are on sale.

        Without a folder generated products stand in. Raises: UserError if not.
        """
        return WebshopConfig.find(group) if group["real_products"] != 0 and group["data_dir"] else {}
