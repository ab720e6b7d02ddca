"""Runs launch.py's training in forked children that die where a plan says, without loading torch anew.

Each line of stdin is a drill, {"root": FOLDER, "plan": [...], "overrides": [...]}, and is answered by a
line: the list of the attempts' exit statuses (negative: killed by that signal). A plan is a list of crashes,
one an attempt, each followed by the next attempt of the same command:
    {"where": "checkpoint", "count": N}        inside the N-th flush of a checkpoint's file to the disk
    {"where": "journal", "count": N, "frac": F}  inside the N-th write of the journal, F of it written
    {"where": "updates", "count": N}           at once after the N-th line of updates.log
    {"where": "result"}                        after the last checkpoint was tidied, before the result
    {"where": "nowhere"} or null               none
A crash may say "threads", how many the attempt is given.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir

import webshop_rl.experiment as experiment
from webshop_rl.config import register, validate
from webshop_rl.launching.single import run_single
from webshop_rl.training import checkpoint

CONF = Path(experiment.__file__).parents[1] / "conf"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def arm(crash: dict[str, Any], root: Path) -> None:
    """Prepare this process for its crash."""
    seen = 0
    if crash["where"] == "checkpoint":
        plain_sync = checkpoint.sync

        def sync(path: Path) -> None:
            nonlocal seen
            seen += 1
            if seen == crash["count"]:
                if path.is_file():
                    os.truncate(path, path.stat().st_size // 2)  # what never reached the disk
                die()
            plain_sync(path)

        checkpoint.sync = sync
    elif crash["where"] == "journal":
        plain_write = os.write

        def write(handle: int, content: bytes) -> int:
            nonlocal seen
            if os.readlink(f"/proc/self/fd/{handle}").endswith("journal.jsonl"):
                seen += 1
                if seen == crash["count"]:
                    plain_write(handle, content[: int(len(content) * crash["frac"])])
                    die()
            return plain_write(handle, content)

        os.write = write
    elif crash["where"] == "updates":

        def watch() -> None:
            while True:
                logs = list(root.glob("runs/*/updates.log"))
                if logs and logs[0].read_text().count("\n") >= crash["count"]:
                    die()
                time.sleep(0.002)

        threading.Thread(target=watch, daemon=True).start()
    elif crash["where"] == "result":
        experiment._result = lambda *_: die()


def drill(root: Path, plan: list[dict[str, Any] | None], overrides: list[str]) -> list[int]:
    """Exit statuses of the attempts."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[f"root={root}", "tracking=journal", *overrides])
    validate(cfg)
    ends = []
    for crash in plan:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(root.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            os.dup2(1, 2)
            status = 1
            try:
                os.chdir(root.parent)
                if crash is not None:
                    torch.set_num_threads(crash.get("threads", 1))
                    arm(crash, root)
                run_single(cfg, overrides)
                status = 0
            except BaseException as error:
                print(repr(error), flush=True)
            finally:
                os._exit(status)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return ends


def main() -> None:
    register()
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(drill(Path(asked["root"]), asked["plan"], asked["overrides"])), flush=True)


if __name__ == "__main__":
    main()
