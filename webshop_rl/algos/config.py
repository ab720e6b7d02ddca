"""What the configurations of several algorithms share; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from webshop_rl.config.fields import UNSET, choice, facts_on, ranged, violation
from webshop_rl.config.groups import AlgoConfig, has_vstar
from webshop_rl.errors import UserError


@dataclass
class VstarAlgoConfig(AlgoConfig):
    """Fields of the algorithms whose baseline is V*, the soft value of the reference policy.

    Attributes:
        equal_groups: zero | keep: what a group (two or more) whose returns are all equal contributes
            to the policy term: nothing, or its share by V*.
    """

    equal_groups: str = choice("zero", "keep")


def uses_vstar(config: Mapping[str, object]) -> bool:
    """Whether a run's algorithm is one of those, by the run's configuration as dotted keys."""
    return has_vstar({name.removeprefix("algo."): value for name, value in config.items()})


RECORDS: Final = "records"


@dataclass
class CloningConfig(AlgoConfig):
    """Fields of the algorithms that learn from demonstrations.

    Attributes:
        demonstrations: what is cloned: the demonstrator that knows the goals | first, rule, backtrack: a
            scripted policy, played on training goals | records: recorded episodes.
        records: JSONL file of recorded episodes.
        min_score: recorded and scripted episodes below are not learnt from, score units.
    """

    demonstrations: str = choice("demonstrator", "first", "rule", "backtrack", RECORDS)
    records: str | None = ranged(place="path")
    min_score: float = ranged(ge=0, le=1)

    @staticmethod
    def check(group: Mapping[str, Any]) -> None:
        """See that a file is named where it is read, and nowhere else. Raises: UserError if not."""
        if (group["demonstrations"] == RECORDS) != (group["records"] is not None):
            raise UserError(
                "a file of records goes with algo.demonstrations=records",
                where="algo.records",
                remedy="algo.demonstrations=records algo.records=FILE, or neither",
            )

    @staticmethod
    def find(group: Mapping[str, Any]) -> Mapping[str, Any]:
        """See that the records are there. Raises: UserError if not."""
        if group["records"] is None:
            return {}
        path = Path(group["records"]).expanduser()
        if not path.is_file():
            raise UserError(f"no such file: {path}", where="algo.records", remedy="algo.records=FILE.jsonl")
        return {"records": str(path.resolve())}


@dataclass
class RatioAlgoConfig(AlgoConfig):
    """Fields of the policy gradients that weigh what another policy sampled, and bound that weight.

    All but ppo read them only where a collection serves more than one update.

    Attributes:
        ratio: what of policy and behaviour policy is compared: token (their ratio at each token) |
            sequence (the geometric mean of a trajectory's decisions) | trajectory (their product).
        clip_eps: width of the clip on that ratio below 1.
        clip_eps_high: the same above 1; null for clip_eps.
    """

    ratio: str = choice("token", "sequence", "trajectory")
    clip_eps: float = ranged(gt=0)
    clip_eps_high: float | None = ranged(gt=0)


@dataclass
class GroupAlgoConfig(RatioAlgoConfig):
    """Fields of the policy gradients whose baseline is the rest of the trajectory's group.

    Attributes:
        group_size: 2 or more: one trajectory has nothing to be compared with.
    """

    group_size: int = ranged(ge=2)


def check_fields(settings: AlgoConfig) -> None:
    """Refuse a setting that is missing or out of range.

    Raises: UserError naming the first such field.
    """
    for f in fields(settings):
        value = getattr(settings, f.name)
        where = f"algo.{f.name}"
        if isinstance(value, str) and value == UNSET:
            raise UserError(
                "is not set", where=where, remedy=f"give it a value in conf/algo/{settings.name}.yaml"
            )
        if broken := violation(value, facts_on(f)):
            raise UserError(f"{value} {broken}", where=where)
