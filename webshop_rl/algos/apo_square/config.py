"""Configuration of A*PO with a squared loss on the scaled advantage."""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.algos.config import VstarAlgoConfig
from webshop_rl.config.fields import ranged


@dataclass
class ApoSquareConfig(VstarAlgoConfig):
    """Schema of conf/algo/apo_square.yaml.

    Attributes:
        beta: what the log-prob of a trajectory is drawn to, nats per return unit of the advantage.
    """

    _target_: str = "webshop_rl.algos.apo_square.loss.ApoSquare"
    beta: float = ranged(gt=0)
