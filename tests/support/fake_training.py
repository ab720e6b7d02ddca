"""A stand-in for webshop_rl/experiment.py: starts at once, records, checkpoints, obeys signals.

Tests of the launcher put it in that module's place in a copy of the code.

What a run does is said by FAKE_TRAINING, a JSON object from seed to one of
raise, exit, vanish (as os._exit does), kill_once, kill_always, deaf (to SIGTERM), slow, late_import,
hold (after two updates, until the file `go` is in the root); peer_raise and peer_kill_once are done by
the second process of a run.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from webshop_rl.config.groups import TrackingConfig
from webshop_rl.preemption import Preempted, StopRequest
from webshop_rl.tracking.config import Destination
from webshop_rl.tracking.tracker import open_tracker

SAMPLED = "sampled.jsonl"  # in the root: what was sampled together, and when


def sample_reference(run_dirs: Sequence[Path], stop: StopRequest) -> int:
    """Takes a second, and notes which runs it was asked for."""
    began = time.time()
    while time.time() < began + 1:
        stop.check()
        time.sleep(0.05)
    note = {"runs": sorted(folder.name for folder in run_dirs), "ended": time.time()}
    with (run_dirs[0].parents[1] / SAMPLED).open("a") as log:
        log.write(json.dumps(note) + "\n")
    return 8 * len(run_dirs)


TEST = {"success": 1.0, "episode_turns": 3.0}


def run_experiment(run_dir: Path) -> float:
    cfg = yaml.safe_load((run_dir / "config.yaml").read_text())
    behaviour = json.loads(os.environ.get("FAKE_TRAINING", "{}")).get(str(cfg["seed"]), "")
    if int(os.environ.get("RANK", "0")) > 0:
        return _compute(run_dir, behaviour)
    settings = Destination(TrackingConfig(**cfg["tracking"]), Path(cfg["root"]), cfg["experiment_name"])
    identity = json.loads((run_dir / "signature.json").read_text())
    state = run_dir / "checkpoints" / "last"
    state.parent.mkdir(exist_ok=True)
    with StopRequest() as stop:
        if behaviour == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        tracker = open_tracker(
            run_dir,
            settings,
            run_name=run_dir.name,
            params=identity["fields"],
            tags={},
            sweep=identity["sweep"],
        )
        note = _note(run_dir)
        try:
            for update in range(int(state.read_text()) if state.exists() else 0, cfg["num_updates"]):
                stop.check()
                time.sleep(0.5 if behaviour in ("slow", "deaf") or "peer" in behaviour else 0.02)
                _misbehave(behaviour, run_dir, update)
                while behaviour == "hold" and update == 2 and not Path(cfg["root"], "go").exists():
                    stop.check()
                    time.sleep(0.05)
                tracker.metrics(update + 1, {"train/success": (update + 1) / cfg["num_updates"]})
                tracker.flush()
                state.write_text(str(update + 1))
                with (run_dir / "updates.log").open("a") as log:
                    log.write(f"{update + 1}\n")
        except Preempted:
            tracker.finish("KILLED")
            raise
        except BaseException as error:
            tracker.finish("FAILED", error)
            raise
        if behaviour == "late_import":
            note["late"] = importlib.import_module("webshop_rl.late_probe").VALUE
        tracker.finish("FINISHED")
    score = cfg["lr"] * 1e5
    policies = {"test": {**TEST, "score": score}}
    result = {"title": "fake", "objective": score, "policies": policies, "main_minus": {}}
    (run_dir / "result.json").write_text(json.dumps(result))
    (run_dir / "note.json").write_text(json.dumps({**note, "ended": time.time()}))
    return score


def _compute(run_dir: Path, behaviour: str) -> float:
    """What another process than the first does: nothing, until the first has ended."""
    behaviour = behaviour.removeprefix("peer_")
    with StopRequest() as stop:
        while not (run_dir / "result.json").exists():
            stop.check()
            time.sleep(0.1)
            if (run_dir / "updates.log").exists():
                _misbehave(behaviour, run_dir, 2)
    return 0.0


def _misbehave(behaviour: str, run_dir: Path, update: int) -> None:
    if update != 2:
        return
    if behaviour == "raise":
        raise ValueError("the shop is closed\nand a second line")
    if behaviour == "exit":
        sys.exit(0)
    if behaviour == "vanish":
        os._exit(0)
    marker = run_dir / "killed"
    if behaviour == "kill_always" or (behaviour == "kill_once" and not marker.exists()):
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _note(run_dir: Path) -> dict[str, object]:
    import webshop_rl

    note = {
        "pid": os.getpid(),
        "started": time.time(),
        "omp": os.environ.get("OMP_NUM_THREADS"),
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "world": [os.environ.get(key) for key in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR")],
        "marks": {name: os.environ.get(name) for name in os.environ.get("MARKS", "").split(",") if name},
        "package": str(Path(webshop_rl.__file__).parent),
    }
    with (run_dir / "attempts.jsonl").open("a") as log:
        log.write(json.dumps(note) + "\n")
    return note
