"""Evaluations side by side: means over episodes with intervals by product, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from webshop_rl.evaluation.evaluator import Evaluation
from webshop_rl.evaluation.records import by_stage, summarise, summarise_evaluation
from webshop_rl.statistics import Estimate, over_products


def compare(title: str, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """The first evaluation beside the others, as result.json has it and tables show it.

    Args:
        evaluations: of the same episodes.
    Returns: {"title", "main": name of the first, "labels": by name, "policies": means by name,
        "intervals": of success and score by name, "main_minus": difference of scores by name}, and with a
        curriculum "stages": success by name, by stage.
    """
    main, *others = evaluations
    return {
        "title": title,
        "main": main.name,
        "labels": {each.name: each.label for each in evaluations},
        "policies": {each.name: summarise_evaluation(each.records) for each in evaluations},
        "intervals": {
            each.name: {key: asdict(record_interval(each.records, key)) for key in ("success", "score")}
            for each in evaluations
        },
        "main_minus": {each.name: asdict(paired_difference(main.records, each.records)) for each in others},
        **({"stages": success_by_stage(evaluations)} if by_stage(main.records) else {}),
    }


def success_by_stage(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, float]]:
    """Success of each policy, by name, at each stage of a curriculum."""
    found: dict[str, dict[str, float]] = {}
    for each in evaluations:
        for stage, own in by_stage(each.records).items():
            found.setdefault(stage, {})[each.name] = summarise(own)["success"]
    return found


def record_interval(records: Sequence[Mapping[str, Any]], key: str) -> Estimate:
    """Mean of "score", "success" or "return" of recorded episodes, by product."""
    return _by_product([float(record[key]) for record in records], records)


def paired_difference(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> Estimate:
    """Score of one policy minus another's on the same goals, by product.

    Args:
        ours, theirs: recorded episodes of the same goals in the same order.
    Raises: ValueError if the episodes are not paired.
    """
    if [(e["goal"], e["sample"]) for e in ours] != [(e["goal"], e["sample"]) for e in theirs]:
        raise ValueError("episodes are not paired: goals or samples differ")
    return _by_product([a["score"] - b["score"] for a, b in zip(ours, theirs, strict=True)], ours)


def _by_product(values: Sequence[float], records: Sequence[Mapping[str, Any]]) -> Estimate:
    return over_products(values, [1.0] * len(values), [record["asin"] for record in records])
