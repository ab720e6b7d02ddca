"""Scalars about advantages and groups; docs/algorithms.md gives the formula of each."""

from __future__ import annotations

from torch import Tensor

from webshop_rl.algos.advantages import Groups, Normalised


def spread(name: str, x: Tensor) -> dict[str, float]:
    """Mean, standard deviation (ddof 0), minimum and maximum of x [N] as name_mean and so on."""
    return {
        f"{name}_mean": float(x.mean()),
        f"{name}_std": float(x.std(correction=0)),
        f"{name}_min": float(x.min()),
        f"{name}_max": float(x.max()),
    }


def advantage_metrics(raw: Tensor, normalised: Normalised) -> dict[str, float]:
    """The advantages before normalisation [N], and what normalisation did."""
    return spread("advantage", raw) | {
        "advantage_positive_frac": float((raw > 0).double().mean()),
        "advantage_clipped_frac": normalised.clipped_frac,
        "advantages_equal": float(normalised.equal),
    }


def group_metrics(groups: Groups) -> dict[str, float]:
    """Returns within groups."""
    return {
        "group_return_std": groups.per_group(groups.std),
        "groups_equal_frac": groups.per_group(groups.equal.double()),
    }
