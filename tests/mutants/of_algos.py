"""Losses and advantages: errors that a test must notice."""

from __future__ import annotations

from tests.mutants.mutant import UNIT, Mutant, of

ADVANTAGES = (UNIT + "algos/test_advantages.py",)
APO = (UNIT + "algos/test_apo.py",)
FAULTY = ("tests/property/test_algos_faults.py",)
GIGPO = (UNIT + "algos/test_gigpo.py",)
REPLAYED = (UNIT + "algos/test_replayed.py",)
APO_REG = (UNIT + "algos/test_apo_reg.py",)
PPO = (UNIT + "algos/test_ppo.py",)
LOSSES = (UNIT + "algos/test_losses.py",)
RETURNS = (UNIT + "algos/test_returns.py",)
KL = (UNIT + "algos/test_kl.py",)

MUTANTS: list[Mutant] = [
    *of(
        "algos/advantages.py",
        ADVANTAGES,
        ("clipped above only", "y.clamp(-clip, clip)", "y.clamp(max=clip)"),
        ("clipped below only", "y.clamp(-clip, clip)", "y.clamp(min=-clip)"),
        ("std of n - 1", "y / x.std(correction=0)", "y / x.std()"),
        ("not centred", 'y = x - x.mean() if how == "mean_std" else x', "y = x"),
        ("no floor of the std", ".clamp(min=std_min)", ""),
        ("a group of one counts as equal", "& (size > 1)", "& (size > 0)"),
    ),
    *of(
        "algos/advantages.py",
        APO,
        ("V* is added", "returns - batch.vstar.double(), log", "returns + batch.vstar.double(), log"),
        (
            "the log-ratio is added",
            "raw = raw - log_ratio_coef * summed",
            "raw = raw + log_ratio_coef * summed",
        ),
    ),
    *of(
        "algos/apo_pg/loss.py",
        APO,
        ("kl_coef under k1 is lost", "self.beta2 + self.kl_reward_coef)", "self.beta2)"),
    ),
    *of(
        "algos/apo_reg/loss.py",
        APO_REG,
        ("beta2 is lost from the error", "squared_error(self.beta2 * moved,", "squared_error(moved,"),
        ("beta2 is lost from the advantage", "self.beta2 + self.kl_reward_coef)", "self.kl_reward_coef)"),
        ("the error has the other sign", "masked(moved - target,", "masked(moved + target,"),
        ("what is not used pulls", "moved - target, target != 0)", "moved - target, target == target)"),
        (
            "the reference's log-ratio",
            "inputs.logprobs, batch.at_collection",
            "inputs.logprobs, batch.ref_logprobs",
        ),
    ),
    *of(
        "algos/gigpo/loss.py",
        GIGPO,
        (
            "turns are compared within a goal",
            "page = batch.state[turns]",
            "page = batch.group[:, None].expand(turns.shape)[turns]",
        ),
        ("no discount", "gamma=gamma, gae_lambda=1.0", "gamma=1.0, gae_lambda=1.0"),
        ("a turn's advantage is its episode's", "self.step_coef * of_turn", "0.0 * of_turn"),
        ("the turn's advantage has the other sign", "+ self.step_coef", "- self.step_coef"),
    ),
    *of(
        "algos/advantages.py",
        FAULTY,
        ("a reward that is not a number passes", "(~torch.isfinite(returns)).sum()", "0"),
        ("an advantage that is not a number passes", "(~torch.isfinite(x)).sum()", "0"),
    ),
    *of(
        "algos/losses.py",
        LOSSES,
        ("the larger surrogate", "torch.minimum(plain, safe)", "torch.maximum(plain, safe)"),
        (
            "the ratio is clipped above only",
            "ratio.clamp(1 - settings.clip_eps, 1 + high)",
            "ratio.clamp(max=1 + high)",
        ),
        ("one width for both sides", "1 + high)", "1 + settings.clip_eps)"),
        ("a sequence's ratio is a product", 'if over == "sequence":', 'if over == "never":'),
        ("a trajectory's ratio counts forced tokens", "masked(own, decided)", "own"),
        ("a token has the gradient of all", "own = x.detach()", "own = x"),
        ("the loss has the other sign", "return -masked(weights, mask) *", "return masked(weights, mask) *"),
    ),
    *of(
        "algos/losses.py",
        LOSSES,
        ("trajectory_sum is a sum", "return mask / trajectories", "return mask"),
        ("constant forgets the divisor", "mask / (trajectories * divisor_tokens)", "mask / trajectories"),
    ),
    *of(
        "algos/losses.py",
        REPLAYED,
        ("no ratio of what is replayed", "one_update and batch.replayed is None", "one_update"),
        ("KL of what is replayed", "weights = masked(weights, batch.own.unsqueeze(1))", "pass"),
    ),
    *of(
        "algos/advantages.py",
        REPLAYED,
        ("l of who sampled", "masked(batch.at_collection,", "masked(batch.behaviour_logprobs,"),
    ),
    *of(
        "algos/losses.py",
        KL,
        ("k2 is not halved", "x.square() / 2", "x.square()"),
        ("k3 of the other direction", "torch.expm1(-x) + x", "torch.expm1(x) - x"),
    ),
    *of(
        "algos/losses.py",
        APO,
        ("KL from the policy to its sampler", "k3(-x), decided", "k3(x), decided"),
        (
            "entropy is discouraged",
            "loss = loss - settings.entropy_coef",
            "loss = loss + settings.entropy_coef",
        ),
    ),
    *of(
        "algos/advantages.py",
        RETURNS,
        ("lambda is lost", "delta + gamma * gae_lambda * next_advantage", "delta + gamma * next_advantage"),
        ("gamma is lost", "rewards[:, s] + gamma * next_value", "rewards[:, s] + next_value"),
        ("pages are steps", "torch.where(here, values[:, s], next_value)", "values[:, s]"),
    ),
    *of(
        "algos/losses.py",
        LOSSES,
        (
            "the better of the two moves",
            "torch.maximum(free, bounded) / 2",
            "torch.minimum(free, bounded) / 2",
        ),
    ),
    *of(
        "algos/ppo/loss.py",
        PPO,
        (
            "a terminated episode bootstraps",
            "torch.where(batch.terminated, nothing,",
            "torch.where(~batch.terminated, nothing,",
        ),
        ("targets without values", "masked(raw + values, steps)", "masked(raw, steps)"),
    ),
    *of(
        "algos/importance.py",
        (UNIT + "algos/test_importance.py",),
        (
            "the weight is upside down",
            "log_ratio(policy.detach(), sampled, decided)",
            "log_ratio(sampled, policy.detach(), decided)",
        ),
        ("nothing is truncated", "ratio.clamp(max=cap)", "ratio"),
    ),
]
