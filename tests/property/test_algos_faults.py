"""What is not finite, and what is hardly there: a clear error, a step that is not taken, or finite numbers.

Outcomes of a batch with one such number among its trajectories:

    refused    ValueError that says "finite", before any loss
    skipped    loss or gradient is not finite, so that the learner takes no step and counts it
    shown      loss and gradient are finite, for the number has weight 0 or a bounded ratio, and `nll` is not
    finite     loss, gradient, advantages and metrics are all finite: the number was not read, or was bounded
"""

from __future__ import annotations

import importlib
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.algorithm_cases import Case, case_of, run
from tests.support.algorithms import algo_settings
from tests.support.paths import CONF
from webshop_rl.algos.algorithm import Algorithm

FILES = sorted(path.stem for path in (CONF / "algo").glob("*.yaml"))
BAD = (math.nan, math.inf, -math.inf)
SEEDS = range(4)


def _algorithms(file: str) -> list[Algorithm]:
    """With one update and with two, with KL and entropy terms and without."""
    settings = algo_settings(file)
    module = importlib.import_module(f"webshop_rl.algos.{settings['name']}.loss")
    (made,) = (
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Algorithm) and kind.__module__ == module.__name__
    )
    terms = ({}, {"kl_coef": 0.1, "kl_estimator": "k1"}, {"kl_coef": 0.1, "entropy_coef": 0.1})
    found = [made(**{**settings, "num_epochs": epochs, **term}) for epochs in (1, 2) for term in terms]
    return [algorithm for algorithm in found if not algorithm.needs_teacher]


def _asked_for(algorithm: Algorithm, case: Case) -> Case:
    """The case without what the algorithm does not ask for."""
    batch = replace(
        case.batch,
        ref_logprobs=case.batch.ref_logprobs if algorithm.needs_reference else None,
        vstar=case.batch.vstar if algorithm.needs_vstar else None,
        values=case.batch.values if algorithm.needs_critic else None,
        last_value=case.batch.last_value if algorithm.needs_critic else None,
        state=case.batch.state if algorithm.needs_states else None,
    )
    return Case(batch, *case.sides())


def _outcome(algorithm: Algorithm, case: Case) -> str:
    try:
        output, gradients, tokens = run(algorithm, case)
    except ValueError as error:
        if not any(word in str(error) for word in ("not finite", "no trajectory has a step", "its reward")):
            raise
        return "refused"
    if not all(bool(x.isfinite().all()) for x in (output.loss, *gradients)):
        return "skipped"
    metrics = algorithm.advantages(case.batch).metrics | {k: float(v) for k, v in output.metrics.items()}
    assert tokens.isfinite().all()
    broken = {name for name, value in metrics.items() if not math.isfinite(value)}
    assert broken <= {"nll"}
    return "shown" if broken else "finite"


def _spoilt(x: Tensor, bad: float) -> Tensor:
    """With its first entry bad: of the first trajectory, where an action token or a turn always is."""
    changed = x.clone()
    changed.view(-1)[0] = bad
    return changed


OF_BATCH = ("behaviour_logprobs", "ref_logprobs", "rewards", "vstar", "values", "last_value")
OF_LEARNER = ("logprobs", "entropy", "values")


def _with_bad(case: Case, field: str, bad: float) -> Case | None:
    side, _, name = field.partition(".")
    if side == "learner":
        sides = dict(zip(OF_LEARNER, case.sides(), strict=True))
        return Case(case.batch, *({**sides, name: _spoilt(sides[name], bad)}.values()))
    held = getattr(case.batch, name)
    if held is None:
        return None
    return Case(replace(case.batch, **{name: _spoilt(held, bad)}), *case.sides())


# What may come of a number that is not finite. A log-ratio is bounded, so an infinite one may be finite.
ALLOWED = {
    "batch.rewards": {"refused"},
    "batch.vstar": {"refused"},
    "batch.values": {"refused"},
    "batch.last_value": {"refused", "finite"},  # not read where truncation does not bootstrap
    "batch.behaviour_logprobs": {"refused", "skipped", "finite"},
    "batch.ref_logprobs": {"refused", "skipped", "finite"},
    "learner.logprobs": {"skipped", "shown", "finite"},  # finite: of a forced token
    "learner.entropy": {"skipped"},
    "learner.values": {"skipped"},
}


def test_every_field_that_can_be_spoilt_is() -> None:
    assert set(ALLOWED) == {f"batch.{n}" for n in OF_BATCH} | {f"learner.{n}" for n in OF_LEARNER}


@pytest.mark.parametrize("file", FILES)
def test_a_number_that_is_not_finite_is_refused_or_skips_the_step_or_was_bounded(file: str) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    tried = 0
    for algorithm in _algorithms(file):
        for seed in SEEDS:
            case = _asked_for(algorithm, case_of(seed, algorithm))
            assert _outcome(algorithm, case) == "finite"
            for field in ALLOWED:
                if field == "learner.entropy" and not algorithm.needs_entropy:
                    continue
                if field == "learner.values" and not algorithm.needs_critic:
                    continue
                for bad in BAD:
                    spoilt = _with_bad(case, field, bad)
                    if spoilt is not None:
                        seen[field, _outcome(algorithm, spoilt)] += 1
                        tried += 1
    print({f"{field} {outcome}": n for (field, outcome), n in sorted(seen.items())})
    assert sum(seen.values()) == tried
    for field, outcome in seen:
        assert outcome in ALLOWED[field], (field, outcome)
    if _algorithms(file):
        assert seen["batch.rewards", "refused"] == 6 * len(SEEDS) * len(BAD)
        assert seen["learner.logprobs", "skipped"] > 0


def _one_token(case: Case) -> Case:
    """Trajectories of one turn and one token."""
    batch = case.batch
    first = torch.zeros_like(batch.mask)
    first[:, 0] = True
    turns = torch.zeros_like(batch.turn_mask)
    turns[:, 0] = True
    changed = replace(batch, mask=first, turn_mask=turns)
    return Case(changed, *case.sides())


def _an_empty_reply(case: Case) -> Case:
    """A trajectory without an action token."""
    mask = case.batch.mask.clone()
    mask[0] = False
    return Case(replace(case.batch, mask=mask), *case.sides())


def _all_masked(case: Case) -> Case:
    return Case(replace(case.batch, mask=torch.zeros_like(case.batch.mask)), *case.sides())


def _no_columns(case: Case) -> Case:
    """No action token in any trajectory, so that T is 0."""
    cut = {
        name: getattr(case.batch, name)[:, :0]
        for name in ("behaviour_logprobs", "mask", "decision", "turn", "ref_logprobs")
        if getattr(case.batch, name) is not None
    }
    values = case.values if case.values.shape == case.batch.turn_mask.shape else case.values[:, :0]
    return Case(replace(case.batch, **cut), case.logprobs[:, :0], case.entropy[:, :0], values)


def _all_forced(case: Case) -> Case:
    return Case(replace(case.batch, decision=torch.zeros_like(case.batch.decision)), *case.sides())


def _equal_returns(case: Case) -> Case:
    rewards = torch.zeros_like(case.batch.rewards)
    rewards[:, 0] = 0.5
    return Case(replace(case.batch, rewards=rewards), *case.sides())


SHAPES: dict[str, Any] = {
    "one token": _one_token,
    "an empty reply": _an_empty_reply,
    "all masked": _all_masked,
    "no columns": _no_columns,
    "all forced": _all_forced,
    "equal returns": _equal_returns,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("file", FILES)
def test_what_is_hardly_there_is_finite(file: str, shape: str) -> None:
    """In a batch of five trajectories, and in one of one."""
    for algorithm in _algorithms(file):
        for num_trajectories in (1, 5):
            for seed in SEEDS:
                case = _asked_for(algorithm, case_of(seed, algorithm, num_trajectories))
                assert _outcome(algorithm, SHAPES[shape](case)) == "finite"


@pytest.mark.parametrize("shape", ["an empty reply", "all masked"])
def test_a_reply_without_tokens_is_refused_where_tokens_carry_rewards(shape: str) -> None:
    module = importlib.import_module("webshop_rl.algos.ppo.loss")
    algorithm = module.Ppo(**algo_settings("ppo", level="token"))
    case = SHAPES[shape](_asked_for(algorithm, case_of(0, algorithm)))
    assert _outcome(algorithm, case) == "refused"
