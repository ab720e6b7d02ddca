"""Mistakes on the command line: one line that names what, where and the remedy; exit code 2."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import CONF, REPOSITORY
from webshop_rl.config.hydra_adapter import ordered


def options(group: str) -> str:
    """As an error lists them."""
    return ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))


ALGORITHMS = options("algo")
QUICK = options("debug")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["num_update=3"], "num_update: there is no such key (did you mean num_updates?)"),
        # Hydra's own hint for the mistake above; the key would be recorded and read by nobody.
        (["+num_update=3"], "num_update: there is no such key (did you mean num_updates?)"),
        (["algo.vstar_beta=0.1"], "algo.vstar_beta: there is no such key (did you mean vstar.beta?)"),
        (
            ["-m", "algo.vstar_samples=4,8"],
            "algo.vstar_samples: there is no such key (did you mean vstar.num_samples?)",
        ),
        (["algo.klcoef=0.1"], "algo.klcoef: there is no such key (did you mean algo.kl_coef?)"),
        (["env.data_dir=x"], "env.data_dir: the env chosen has no such key (another does: env=...)"),
        (["algo=dpo"], f"algo: there is no dpo (there are {ALGORITHMS})"),
        (["debug=quik"], f"debug: there is no quik (there are {QUICK})"),
        (["-m", "debug=quick,quik"], f"debug: there is no quik (there are {QUICK})"),
        (["debug=quik", "sweep.dry_run=true"], f"debug: there is no quik (there are {QUICK})"),
        (["--cfg", "job", "debug=quik"], f"debug: there is no quik (there are {QUICK})"),
        (["num_updates=abc"], "num_updates: 'abc' is not a whole number"),
        (["algo=apo_sft,apo_pg"], "algo: several values (-m sweeps over them)"),
        (["lr"], "configuration: 'lr' is no override (group=option or key=value; see --help)"),
        (["lr=5e-6,", "1e-5"], "lr: no value after the last comma (no blank after a comma)"),
        (
            ["env.data_dir=/a=b"],
            "env.data_dir: '/a=b' has a sign that must be quoted (quote it twice: 'env.data_dir=\"/a=b\"')",
        ),
        (["env.data_dir=~/x"], "env.data_dir: '~/x' has a sign that must be quoted (write $HOME/x)"),
        (
            ["algo=base_apo_pg"],
            f"algo: there is no base_apo_pg (there are {ALGORITHMS})",
        ),
        (["-m", "algo=glob(nope*)"], "algo: glob(nope*) contains no value (--help lists the options)"),
        (
            ["-m", "seed=range(0,100000)"],
            "seed: range(0,100000) makes more than 10,000 runs (several sweeps may share a root)",
        ),
        (
            ["-m", "seed=range(0,101)", "vstar.seed=range(0,100)"],
            "vstar.seed: range(0,100) makes more than 10,000 runs (several sweeps may share a root)",
        ),
        (["-m", "seed=range(3,3)"], "seed: range(3,3) contains no value (range leaves its end out)"),
        (["algo=null"], "configuration: a group takes the name of an option (--help lists them)"),
        (["~lr"], "lr: a run needs it (leave ~lr out; lr=... gives another value)"),
        (["~algo"], "algo: a run needs it (leave ~algo out; algo=... gives another value)"),
        (["~rollout"], "rollout: a run needs it (leave ~rollout out; rollout=... gives another value)"),
        (["~model"], "model: a run needs it (leave ~model out; model=... gives another value)"),
        (["~lr", "--cfg", "job"], "lr: a run needs it (leave ~lr out; lr=... gives another value)"),
        (["~seed", "seed=77"], "seed: a run needs it (leave ~seed out; seed=... gives another value)"),
        (
            ["~hardware.slurm.time"],
            "hardware.slurm.time: a run needs it "
            "(leave ~hardware.slurm.time out; hardware.slurm.time=... gives another value)",
        ),
        (
            ["-m", "model.num_heads=4,3"],
            "model.num_heads: 3 heads do not fit model.hidden_size=128 "
            "(hidden_size / num_heads must be a whole, even number)",
        ),
        (
            ["model=smollm2_135m", "rollout.rename=0.5", "sweep.dry_run=true"],
            "rollout.rename: the words of smollm2_135m cannot be renamed: its tokens are pieces of words "
            "(rollout.rename=0, or model=tiny)",
        ),
        (
            ["hardware.slurm.tasks_per_node=2"],
            "hardware.slurm.tasks_per_node: 2 asked for, but a local run is one process "
            "(hardware.slurm.tasks_per_node=1, or Slurm)",
        ),
        (
            ["hardware.slurm.nodes=2", "sweep.dry_run=true"],
            "hardware.slurm.nodes: 2 asked for, but a local run is one process "
            "(hardware.slurm.nodes=1, or Slurm)",
        ),
        (
            ["-m", "hardware.slurm.time=abc", "seed=1,2", "sweep.dry_run=true"],
            "hardware.slurm.time: 'abc' is not a time limit (e.g. 04:00:00 or 2-00:00:00)",
        ),
        (["hardware.mem=4G"], "hardware.mem: there is no such key (did you mean hardware.slurm.mem?)"),
        (["hardware.slurm.mem=lots"], "hardware.slurm.mem: 'lots' is not an amount of memory (e.g. 8G)"),
        (["debug=quik", "-m", "seed=1,2"], f"debug: there is no quik (there are {QUICK})"),
        (["debug=quik", "--cfg", "job", "--resolve"], f"debug: there is no quik (there are {QUICK})"),
        (["-m", "num_update=1,2"], "num_update: there is no such key (did you mean num_updates?)"),
        (["-m", "+typo=1,2"], "typo: there is no such key (--cfg job shows all keys of the groups chosen)"),
        (
            ["-m", "algo=apo_sft,dpo"],
            f"algo: there is no dpo (there are {ALGORITHMS})",
        ),
        (["-m", "seed=0,x"], "seed: 'x' is not a whole number"),
    ],
)
def test_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, str(REPOSITORY / "launch.py"), *arguments, f"root={tmp_path / 'runs'}"]
    environment = {k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.splitlines() == [f"error: {message}"]
    assert done.returncode == 2
    assert done.stdout == ""
    assert not (tmp_path / "runs" / "runs").exists()


@pytest.mark.parametrize("several", [[], ["-m", "seed=1,2"]])
def test_a_model_beyond_the_machine_is_no_run_that_failed(tmp_path: Path, several: list[str]) -> None:
    command = [sys.executable, "launch.py", *several, "model.hidden_size=100000000", f"root={tmp_path}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    # 4 layers of 10 hidden^2 parameters of 4 bytes
    assert done.stderr.startswith(
        "error: model: its layers weigh 1,600,000,000 GB, and this machine's memory is"
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert not (tmp_path / "runs").exists()


def test_groups_offer_what_can_be_chosen_and_no_schema(tmp_path: Path) -> None:
    """In --help, by tab completion and to glob(*)."""
    complete = {**os.environ, "COMP_LINE": "launch.py algo="}
    everything = ["-m", "algo=glob(*)", "sweep.dry_run=true", f"root={tmp_path}"]
    offered = [
        subprocess.run(
            [sys.executable, "launch.py", *arguments],
            cwd=REPOSITORY,
            env=complete,
            capture_output=True,
            text=True,
        ).stdout
        for arguments in (["--help"], ["-sc", "query=bash"], everything)
    ]
    for shown in offered:
        assert "apo_sft" in shown
        assert "base_" not in shown


def test_a_large_sweep_shows_how_far_its_check_is(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "launch.py",
        "-m",
        "seed=range(0,120)",
        "sweep.dry_run=true",
        f"root={tmp_path}",
    ]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        timeout=60,
        check=True,
    )
    os.close(theirs)
    assert b"checking runs" in os.read(ours, 1 << 16)
    os.close(ours)
    assert "120 runs would be" in done.stdout


def test_a_study_that_does_not_exist_is_answered_with_those_that_do(tmp_path: Path) -> None:
    """The default would train for hours in its place."""
    known = options("experiment")
    command = [
        sys.executable,
        str(REPOSITORY / "launch.py"),
        "experiment=apo_disagreemnt",
        f"root={tmp_path}",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == f"error: experiment: there is no apo_disagreemnt (there are {known})\n"
    assert done.returncode == 2


def test_options_come_first_and_a_further_sbatch_option_is_added() -> None:
    words = ["experiment=x", "--cfg", "job", "hardware.slurm.sbatch.constraint=h100", "-m", "seed=1,2"]
    assert ordered(words) == [
        *("--cfg", "job", "-m"),
        *("experiment=x", "++hardware.slurm.sbatch.constraint=h100", "seed=1,2"),
    ]
