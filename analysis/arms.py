"""Arms: runs that differ in nothing but their seeds; how they are called, and what they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from webshop_rl.config.walk import facts_of, seed_keys

from .load import Run

_SWEEP = "sweep"  # in an arm's settings, beside keys of the configuration
_START = "init_from"
_OWN_START = "each seed's own"


@dataclass(frozen=True)
class Arm:
    """Runs of one configuration.

    Attributes:
        label: what distinguishes it from the other arms, "algo=apo_pg lr=5e-06".
        settings: the same by key.
        runs: all, finished or not, in order of seed.
    """

    label: str
    settings: Mapping[str, str]
    runs: Sequence[Run]

    @cached_property
    def finished(self) -> list[Run]:
        """Those whose numbers count."""
        return [run for run in self.runs if run.finished]

    @property
    def to_come(self) -> int:
        """How many more of it the sweep lists, which have not started."""
        return max(run.to_come for run in self.runs)

    def scores(self, metric: str) -> list[float]:
        """Last value of a metric of each finished run."""
        return [run.metrics[metric] for run in self.finished]

    def param(self, key: str, default: str = "") -> str:
        """Value of a configuration key that is no seed."""
        return self.runs[0].params.get(key, default)


def arms_of(runs: Sequence[Run]) -> list[Arm]:
    """Group runs by their configuration without seeds, in order of what distinguishes the arms.

    Args:
        runs: of one sweep.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    own_starts = _own_starts(runs)
    for run in runs:
        named = {_START: _OWN_START} if id(run) in own_starts else None
        groups.setdefault(_configuration(run, named), []).append(run)
    configurations = [dict(group) for group in groups]
    keys = distinguishing_keys(configurations)
    arms = []
    for configuration, members in zip(configurations, groups.values(), strict=True):
        settings = {key: configuration.get(key, "") for key in keys}
        label = " ".join(f"{short(key)}={value or 'unset'}" for key, value in settings.items())
        ordered = sorted(members, key=lambda run: [natural(run.params.get(k, "")) for k in seed_keys()])
        arms.append(Arm(label or _plain_label(configuration), settings, ordered))
    return sorted(arms, key=lambda arm: [natural(value) for value in arm.settings.values()])


def distinguishing_keys(configurations: Sequence[Mapping[str, str]]) -> list[str]:
    """Fewest keys, most familiar first, whose values tell the configurations apart.

    A key that others determine is left out: `algo.kl_coef` differs between two algorithms, but
    `algo.name` says it all, unless it was swept as well.
    """
    varying = [
        key
        for key in dict.fromkeys(key for c in configurations for key in c)
        if len({c.get(key) for c in configurations}) > 1
    ]
    chosen: list[str] = []
    for key in sorted(varying, key=_familiarity):
        known = [tuple(c.get(k) for k in chosen) for c in configurations]
        with_key = {(*k, c.get(key)) for k, c in zip(known, configurations, strict=True)}
        if len(with_key) > len(set(known)):
            chosen.append(key)
    return chosen


def short(key: str) -> str:
    """A key as it is typed: `algo.name` is chosen by `algo=`."""
    return key.removesuffix(".name")


def shared_by_arms(arms: Sequence[Arm]) -> list[str]:
    """What runs have in common beyond their code, one sentence each, for what is shared correlates them."""
    runs = [run for arm in arms for run in arm.runs]
    return [*_shared_seeds(arms), *_shared_start(runs), *_shared_references(arms)]


def _shared_seeds(arms: Sequence[Arm]) -> list[str]:
    sentences = []
    seeds = [{run.seed for run in arm.runs} for arm in arms]
    common = set.intersection(*seeds) if seeds else set()
    if len(arms) > 1 and common:
        sentences.append(
            f"Training seeds {_listed(common)} are used by every arm: runs of equal seed draw the same goals "
            "in the same order, and their results may be correlated."
        )
    for arm in arms:
        if len({run.seed for run in arm.runs}) < len(arm.runs):
            sentences.append(f"{arm.label}: runs of equal training seed count as separate runs.")
    return sentences


def _shared_start(runs: Sequence[Run]) -> list[str]:
    starts = {run.params["model.init_seed"] for run in runs if "model.init_seed" in run.params}
    if len(starts) != 1 or len(runs) < 2:
        return []
    return [
        f"model.init_seed={starts.pop()} for every run: runs of one model start from the same weights, so "
        "intervals over seeds leave out how much the start matters."
    ]


def _shared_references(arms: Sequence[Arm]) -> list[str]:
    users: dict[tuple[tuple[str, str], ...], dict[str, list[Run]]] = {}
    for arm in arms:
        for run in arm.runs:
            if run.tags.get("vstar_code"):
                users.setdefault(_reference(run), {}).setdefault(arm.label, []).append(run)
    sentences = []
    for by_arm in users.values():
        runs = [run for members in by_arm.values() for run in members]
        if len(runs) > 1:
            who = "all runs" if len(by_arm) == 1 and len(arms) == 1 else f"runs of {'; '.join(by_arm)}"
            sentences.append(
                f"V* samples are shared by {who} (vstar.seed={runs[0].params.get('vstar.seed', '?')}): one "
                "set of reference returns serves them all, so an error of V* is common to them."
            )
    return sentences


def _own_starts(runs: Sequence[Run]) -> set[int]:
    """Those, by id(), of which each seed starts from a checkpoint of its own: part of the repetition."""
    alike: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        if run.params.get(_START):
            alike.setdefault(_configuration(run, {_START: _OWN_START}), []).append(run)
    return {id(run) for members in alike.values() if _one_a_seed(members) for run in members}


def _one_a_seed(runs: Sequence[Run]) -> bool:
    """Whether starts differ, and runs of equal seed have the same."""
    starts = {(run.seed, run.params[_START]) for run in runs}
    return len({seed for seed, _ in starts}) == len(starts) and len({start for _, start in starts}) > 1


def _configuration(run: Run, named: Mapping[str, str] | None = None) -> tuple[tuple[str, str], ...]:
    """What makes an arm: all keys but seeds, and the sweep where a report has several.

    Args:
        named: what stands in the place of some values.
    """
    keys = ((k, v) for k, v in {**run.params, **(named or {})}.items() if k not in seed_keys())
    return tuple(sorted((*keys, (_SWEEP, run.sweep)) if run.sweep else keys))


def _reference(run: Run) -> tuple[tuple[str, str], ...]:
    """What determines reference returns, and so who shares them."""
    return tuple(sorted((k, v) for k, v in run.params.items() if "reference" in facts_of(k).decides))


def _plain_label(configuration: Mapping[str, str]) -> str:
    words = [configuration.get(key, "") for key in ("algo.name", "env.name", "model.name")]
    return " ".join(word for word in words if word) or "all runs"


def _familiarity(key: str) -> tuple[int, str]:
    """Group names first, then top-level keys, then the rest; the sweep only where nothing else differs."""
    if key == _SWEEP:
        return (3, key)
    if key.endswith(".name"):
        return (0, key)
    return (1 if "." not in key else 2, key)


def natural(value: str) -> tuple[int, float, str]:
    """Sorts numbers as numbers, before words."""
    try:
        return (0, float(value), value)
    except ValueError:
        return (1, 0.0, value)


def _listed(values: Iterable[str]) -> str:
    return ", ".join(sorted(values, key=natural))
