"""Collecting with vLLM beside the network itself: `python -m benchmarks.engine_speed [OVERRIDE ...]`.

Where vLLM is installed (make test-vllm makes that environment, .venv-vllm). The same policy, goals and shop,
in turns in one process: seconds until vLLM plays, seconds to hand weights over, episodes a second (medians),
and how far the log-probs of the two are from each other. On a CPU times are of the processor, vLLM's worker
included; one thread unless OMP_NUM_THREADS says otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # its work is then in this process's time

import torch

from benchmarks.options import configured
from webshop_rl.build import Acting, build_agent, build_algorithm, build_sampler, build_shop, choose_device
from webshop_rl.cli import command
from webshop_rl.config import register
from webshop_rl.config.engine import find_engine
from webshop_rl.distributed.ranks import Ranks
from webshop_rl.rollout.sampler import NativeSampler
from webshop_rl.training.collection import goals_of, group_specs
from webshop_rl.training.learner import Importance, Learner


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Time of one call."""
    start = clock()
    work()
    return clock() - start


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", default=os.environ.get("WEBSHOP_DATA_DIR"), help="the real WebShop")
    parser.add_argument("--goals", type=int, default=4, help="each with a group of episodes")
    parser.add_argument("--repeats", type=int, default=3, help="of each, in turns")
    parser.add_argument("overrides", nargs="*", help="of the configuration, e.g. model=smollm2_135m")
    options = parser.parse_args(arguments)
    register()
    keys = ["env=shop5"]
    if options.data_dir:
        keys = ["env=webshop", f"env.data_dir={Path(options.data_dir).resolve()}"]
    config = configured(["algo=grpo", *keys, *options.overrides, "rollout.engine=vllm"])
    find_engine({"rollout": {"engine": config.rollout.engine}})
    device = choose_device(config.hardware.device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    shop = build_shop(config.env)
    agent = build_agent(config.model, shop, critic=False, device=device)
    acting = Acting.of(config.rollout, config.view, agent)
    goals = goals_of(shop.goals("train"), 0, options.goals, 0)
    specs = group_specs(goals, config.algo.group_size, 0, 0)
    samplers = {"native": NativeSampler(), "vllm": build_sampler(config.rollout)}
    collectors = {name: acting.collector(agent, shop, sampler) for name, sampler in samplers.items()}
    start = seconds(lambda: collectors["vllm"].collect(specs[:1], temperature=1.0), clock)
    print(f"{config.model.name}, {len(specs)} episodes of {len(goals)} goals, {device.type}")
    print(f"  vLLM plays its first episode after {start:.1f} s")
    times: dict[str, list[float]] = {name: [] for name in collectors}
    handed: list[float] = []
    for repeat in range(1 + options.repeats):
        for name, collector in collectors.items():
            took = seconds(lambda c=collector: c.collect(specs, temperature=1.0), clock)  # type: ignore[misc]
            if repeat:
                times[name].append(took)
        with torch.no_grad():
            next(agent.network.parameters()).mul_(1.0)  # counts as an update, and changes nothing
        nobody = samplers["vllm"].playing(agent, [], temperature=1.0, top_p=1.0)
        with contextlib.ExitStack() as stack:
            handed.append(seconds(lambda n=nobody, s=stack: s.enter_context(n), clock))  # type: ignore[misc]
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        rate = len(specs) / median
        print(
            f"  {name:8s} {median:8.2f} s {rate:8.2f} episodes/s, {medians['native'] / median:5.2f} x native"
        )
    print(f"  weights handed over in {statistics.median(handed):.2f} s")
    trajectories = collectors["vllm"].collect(specs, temperature=1.0)
    learner = Learner(
        agent, None, build_algorithm(config.algo), lr=config.lr, num_updates=1, optim=config.optim,
        temperature=config.rollout.temperature, seed=0, ranks=Ranks(),
        importance=Importance(config.rollout.importance_cap),
    )  # fmt: skip
    metrics = next(learner.learn(trajectories, None, 0)).metrics
    for name in ("gap_mean", "gap_max", "truncated_frac"):
        print(f"  sampler/{name} {metrics[f'sampler/{name}']:.2e}")
    samplers["vllm"].close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
