"""Configuration of cloning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webshop_rl.algos.config import RECORDS, CloningConfig
from webshop_rl.config.fields import ranged
from webshop_rl.errors import UserError


@dataclass
class BcConfig(CloningConfig):
    """Schema of conf/algo/bc.yaml.

    Attributes:
        student_share: largest share of a collection's episodes that the policy plays itself, the teacher
            labelling the pages it reaches (DAgger); the teacher plays the others.
        student_from, student_until: the part of the run, in updates done over updates planned, in which that
            share rises from 0 to its largest, in a straight line.
    """

    _target_: str = "webshop_rl.algos.bc.loss.Bc"
    student_share: float = ranged(ge=0, le=1)
    student_from: float = ranged(ge=0, le=1)
    student_until: float = ranged(ge=0, le=1)

    @staticmethod
    def check(group: Mapping[str, Any]) -> None:
        """See that the student's share can rise, and has a teacher. Raises: UserError if not."""
        if group["student_until"] < group["student_from"]:
            raise UserError(
                "the student's share would be at its largest before it rises",
                where="algo.student_until",
                remedy="set it to algo.student_from or above",
            )
        CloningConfig.check(group)
        if group["student_share"] > 0 and group["demonstrations"] == RECORDS:
            raise UserError(
                "records have no answer on pages that the policy reaches",
                where="algo.student_share",
                remedy="algo.student_share=0, or algo.demonstrations=demonstrator",
            )
