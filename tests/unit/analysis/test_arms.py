from __future__ import annotations

from analysis.arms import arms_of, distinguishing_keys, shared_by_arms
from tests.support.analysis_runs import make_run


def test_runs_that_differ_in_seeds_alone_are_one_arm():
    runs = [make_run(seed=s, model__init_seed=str(s), vstar__seed=str(9 - s)) for s in (10, 2, 1)]
    (arm,) = arms_of(runs)
    assert [run.seed for run in arm.runs] == ["1", "2", "10"]  # as numbers
    assert arm.label == "apo_pg webshop"


def test_seeds_that_start_from_a_clone_each_of_its_own_are_one_arm():
    runs = [make_run(a, seed=s, init_from=f"sha256:{s}") for a in ("ppo", "grpo") for s in (0, 1)]
    assert [(arm.label, len(arm.runs)) for arm in arms_of(runs)] == [("algo=grpo", 2), ("algo=ppo", 2)]
    assert {run.params["init_from"] for arm in arms_of(runs) for run in arm.runs} == {"sha256:0", "sha256:1"}
    # Clones that differ are references that differ: only runs of one seed share V*'s samples.
    of_vstar = [
        make_run("apo_pg", seed=s, lr=lr, init_from=f"sha256:{s}", tags={"vstar_code": "c"})
        for s in (0, 1)
        for lr in ("1e-05", "2e-05")
    ]
    assert sum("V* samples are shared" in said for said in shared_by_arms(arms_of(of_vstar))) == 2
    # Beside runs from random weights the start is what differs.
    runs = [make_run("ppo", seed=s, init_from=start) for s in (0, 1) for start in ("", f"sha256:{s}")]
    assert {arm.settings["init_from"]: len(arm.runs) for arm in arms_of(runs)} == {
        "": 2,
        "each seed's own": 2,
    }
    # Two starts that every seed is played from are two arms, and so are two of one seed.
    runs = [make_run("ppo", seed=s, init_from=f"sha256:{c}") for s in (0, 1) for c in "ab"]
    assert [len(arm.runs) for arm in arms_of(runs)] == [2, 2]
    assert len(arms_of(runs[:2])) == 2


def test_an_algorithm_is_named_once_and_not_by_all_it_implies():
    runs = [make_run("apo_pg", algo__kl_coef="0.0"), make_run("apo_sft", algo__kl_coef="0.02")]
    assert [arm.label for arm in arms_of(runs)] == ["algo=apo_pg", "algo=apo_sft"]


def test_a_key_that_was_swept_beside_the_algorithm_is_named():
    runs = [make_run(a, lr=lr) for a in ("apo_pg", "apo_sft") for lr in ("1e-05", "5e-06")]
    labels = [arm.label for arm in arms_of(runs)]
    # by number: 5e-06 comes before 1e-05
    assert labels == [f"algo={a} lr={lr}" for a in ("apo_pg", "apo_sft") for lr in ("5e-06", "1e-05")]


def test_a_key_that_one_configuration_lacks_tells_it_apart():
    assert distinguishing_keys([{"lr": "1"}, {"lr": "1", "optim.beta1": "0.9"}]) == ["optim.beta1"]
    runs = [make_run(), make_run(optim__beta1="0.9")]
    assert sorted(arm.label for arm in arms_of(runs)) == ["optim.beta1=0.9", "optim.beta1=unset"]


def test_failed_and_untested_runs_stay_in_their_arm_but_do_not_count():
    runs = [
        make_run(seed=0, score=0.5),
        make_run(seed=1, status="FAILED"),
        make_run(seed=2, score=0.9, status="KILLED"),
        make_run(seed=3),
        make_run(seed=4, score=float("nan")),
    ]
    (arm,) = arms_of(runs)
    assert len(arm.runs) == 5
    assert [run.seed for run in arm.finished] == ["0"]


def test_what_is_shared_is_said():
    runs = [make_run(a, seed=s, tags={"vstar_code": "c0de"}, vstar__seed="3") for a in "ab" for s in (0, 1)]
    shared = " ".join(shared_by_arms(arms_of(runs)))
    assert "Training seeds 0, 1 are used by every arm" in shared
    assert "model.init_seed=0 for every run" in shared
    assert "V* samples are shared by runs of algo=a; algo=b (vstar.seed=3)" in shared


def test_what_is_not_shared_is_not_said():
    # another decoding, another reference; no V*; another start; no seed in common
    runs = [
        make_run("a", seed=0, tags={"vstar_code": "c0de"}, rollout__temperature="1.0", model__init_seed="0"),
        make_run("b", seed=1, tags={"vstar_code": "c0de"}, rollout__temperature="0.7", model__init_seed="1"),
        make_run("ppo", seed=2, model__init_seed="2"),
    ]
    assert shared_by_arms(arms_of(runs)) == []
