"""What tracking costs a run: `python benchmarks/tracking_speed.py [--server] [--runs 4]`.

Prints one line a figure: the journal's flush, MLflow's own log_metrics for comparison, how fast a
journal is replayed, what a launch pays to check and to build a tracker, and the longest a step waits
while the tracker answers, is dead, or hangs. With --server the same against `make ui`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil

from webshop_rl.config.groups import TrackingConfig
from webshop_rl.tracking.config import Destination
from webshop_rl.tracking.journal import Journal
from webshop_rl.tracking.mirror import Mirror
from webshop_rl.tracking.prepare import check_tracker, ensure_ready
from webshop_rl.tracking.tracker import open_tracker

NUM_KEYS = 30
NUM_STEPS = 1000
NUM_TRACES = 10


def report(what: str, value: float, unit: str) -> None:
    """One line of the result."""
    print(f"{what:<62} {value:>9.2f} {unit}", flush=True)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def percentile(seconds: list[float], share: float) -> float:
    """The value below which a share of the list lies, in ms."""
    return 1e3 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def values(step: int) -> dict[str, float]:
    """An update's metrics."""
    return {f"algo/k{i}": step / (i + 1) for i in range(NUM_KEYS)}


def journal_speed(folder: Path) -> None:
    """A flush per update, and opening the journal again."""
    journal = Journal(folder)
    journal.run(run_name="a", experiment="e", uri="u", sweep="")
    flushes = []
    for step in range(NUM_STEPS):
        journal.metrics(step, values(step))
        flushes.append(timed(journal.flush))
    journal.close()
    report(f"journal: row of {NUM_KEYS} and flush, p50", percentile(flushes, 0.5), "ms")
    report(f"journal: row of {NUM_KEYS} and flush, p99", percentile(flushes, 0.99), "ms")
    report(f"journal: open again after {NUM_STEPS} updates", 1e3 * timed(lambda: Journal(folder)), "ms")


def replay_speed(folder: Path, settings: Destination, what: str) -> None:
    """The whole journal to the tracker, and MLflow's direct way for comparison."""
    mirror = Mirror(folder, settings)
    seconds = timed(mirror.sync)
    report(f"{what}: replay of {NUM_STEPS} updates x {NUM_KEYS} metrics", seconds, "s")
    report(f"{what}: replayed metrics a second", NUM_STEPS * NUM_KEYS / seconds, "/s")
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(settings.uri)
    run_id = client.create_run(ensure_ready(settings)).info.run_id
    direct = []
    for step in range(50):
        metrics = [Metric(k, v, 1000 + step, step) for k, v in values(step).items()]
        direct.append(timed(lambda m=metrics: client.log_batch(run_id, metrics=m)))
    report(f"{what}: MLflow log_batch of {NUM_KEYS} an update, p50", percentile(direct, 0.5), "ms")
    report(f"{what}: MLflow log_batch of {NUM_KEYS} an update, p99", percentile(direct, 0.99), "ms")


def trace_speed(settings: Destination, what: str) -> None:
    """What ten episodes as traces take; MLflow's client for them is imported before."""
    folder = settings.root / "runs" / "traces"
    feedback = {"score": 0.5, "success": False, "reason": "loop", "r_type": 1.0, "r_att": 0.5, "r_price": 1.0}
    turn = {"page": "word " * 100, "reply": "click [ 1 ]", "action": "click[1]", "reward": 0.0, "parts": {}}
    episode = {"goal": "g", "instruction": "i want", "score": 0.5, "feedback": feedback, "turns": [turn] * 8}
    shown = replace(settings, config=replace(settings.config, kind="journal", traces=NUM_TRACES + 1))
    with open_tracker(folder, shown, run_name="traces", params={}, tags={}) as tracker:
        tracker.traces("first", [episode])
    Mirror(folder, settings).sync()
    with open_tracker(folder, shown, run_name="traces", params={}, tags={}) as tracker:
        tracker.traces("test", [episode] * NUM_TRACES)
    mirror = Mirror(folder, settings)
    cpu_s = time.process_time()
    report(f"{what}: {NUM_TRACES} episodes of 8 turns as traces", timed(mirror.sync), "s")
    report(f"{what}: the same, time of this process", time.process_time() - cpu_s, "s CPU")


def step_waits(settings: Destination, name: str, what: str, during: Callable[[int], None]) -> None:
    """The longest that an update waits for its record, and what the end of the run waits."""
    folder = settings.root / "runs" / name
    tracker = open_tracker(folder, settings, run_name=name, params={}, tags={})
    waits = []
    for step in range(100):
        during(step)
        waits.append(timed(lambda s=step: (tracker.metrics(s, values(s)), tracker.flush())))
        time.sleep(0.02)
    report(f"{what}: update waits, longest of 100", 1e3 * max(waits), "ms")
    report(f"{what}: the end of the run waits", timed(tracker.finish), "s")


@contextlib.contextmanager
def server(root: Path) -> Iterator[tuple[str, Callable[[int], None]]]:
    """(URL, send a signal to it) of a server over a root."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "webshop_rl.tracking.serve", "--root", str(root), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def tell(number: int) -> None:
        parent = psutil.Process(process.pid)
        for each in [parent, *parent.children(recursive=True)]:
            each.send_signal(number)

    url = f"http://127.0.0.1:{port}"
    try:
        report("server: starts in", timed(lambda: wait_for(url)), "s")
        yield url, tell
    finally:
        tell(signal.SIGKILL)
        process.wait()


def wait_for(url: str) -> None:
    """Until the server answers."""
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=1).read()
            return
        except OSError:
            time.sleep(0.05)


def launch_costs(settings: Destination, what: str) -> None:
    """What a launching process pays."""
    report(f"{what}: check_tracker", 1e3 * timed(lambda: check_tracker(settings)), "ms")
    report(f"{what}: ensure_ready, first", timed(lambda: ensure_ready(settings)), "s")
    report(f"{what}: ensure_ready, again", 1e3 * timed(lambda: ensure_ready(settings)), "ms")


def main() -> None:
    """All figures."""
    parser = argparse.ArgumentParser(description="What tracking costs a run.")
    parser.add_argument("--server", action="store_true", help="also against a real MLflow server")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        settings = Destination(TrackingConfig("mlflow", None, 0.2, 1.0, 30.0, 0), root, "e")
        launch_costs(settings, "sqlite")
        journal_speed(root / "runs" / "speed")
        replay_speed(root / "runs" / "speed", settings, "sqlite")
        trace_speed(settings, "sqlite")
        step_waits(settings, "live", "sqlite", lambda step: None)
        dead = Destination(TrackingConfig("mlflow", "http://127.0.0.1:9", 0.2, 1.0, 30.0, 0), root, "e")
        step_waits(dead, "dead", "dead server", lambda step: None)
    if options.server:
        with tempfile.TemporaryDirectory() as name, server(Path(name)) as (url, tell):
            root = Path(name)
            remote = Destination(TrackingConfig("mlflow", url, 0.2, 1.0, 10.0, 0), root, "e")
            launch_costs(remote, "server")
            journal_speed(root / "runs" / "speed")
            replay_speed(root / "runs" / "speed", remote, "server")
            trace_speed(remote, "server")
            step_waits(remote, "live", "server", lambda step: None)
            hang = {10: signal.SIGSTOP, 90: signal.SIGCONT}
            step_waits(remote, "hung", "hung server", lambda step: tell(hang[step]) if step in hang else None)


if __name__ == "__main__":
    main()
