"""The folder lock: one holder, whoever is killed wherever."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from tests.support.paths import REPOSITORY
from webshop_rl.storage.lock import Busy, FolderLock, this_process

HOLD = """
import sys, time
from pathlib import Path
from webshop_rl.storage.lock import FolderLock
FolderLock(Path(sys.argv[1]), "x").acquire()
print("held", flush=True)
time.sleep(60)
"""


def holder(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=REPOSITORY, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    return process


def claim(folder, number, content, age_s=0.0):
    path = folder / "x.lock" / f"{number:08d}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    os.utime(path, (time.time() - age_s,) * 2)


def elsewhere():
    return json.dumps(asdict(replace(this_process(), machine="another", host="node7")))


def test_second_holder_is_refused_and_told_who_holds_it(tmp_path):
    with FolderLock(tmp_path, "x") as lock:
        assert lock.held()
        with pytest.raises(Busy, match=f"process {os.getpid()} on"):
            FolderLock(tmp_path, "x").acquire()
        FolderLock(tmp_path, "other").acquire().release()
    assert FolderLock(tmp_path, "x").holder() is None
    FolderLock(tmp_path, "x").acquire().release()


def test_killed_holder_is_replaced_at_once_even_while_it_is_a_zombie(tmp_path):
    process = holder(tmp_path)
    try:
        with pytest.raises(Busy, match=f"process {process.pid} on"):
            FolderLock(tmp_path, "x").acquire()
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and still a zombie
        with FolderLock(tmp_path, "x").acquire(wait_s=0) as lock:
            assert lock.held()
    finally:
        process.kill()
        process.wait()


def test_holder_on_another_machine_counts_until_it_is_silent(tmp_path):
    claim(tmp_path, 3, elsewhere(), age_s=1800)
    with pytest.raises(Busy, match="node7"):
        FolderLock(tmp_path, "x", stale_s=3600).acquire()
    claim(tmp_path, 3, elsewhere(), age_s=3601)
    assert FolderLock(tmp_path, "x", stale_s=3600).acquire().held()


def test_a_killed_claim_of_a_reused_process_id_is_free(tmp_path):
    claim(tmp_path, 1, json.dumps(asdict(replace(this_process(), start="1"))))
    assert FolderLock(tmp_path, "x").acquire().held()


def test_claim_without_content_is_waited_for_and_then_outnumbered(tmp_path):
    claim(tmp_path, 1, "", age_s=0)  # its writer was killed between creation and writing, or is at it
    with pytest.raises(Busy):
        FolderLock(tmp_path, "x", stale_s=3600).acquire()
    claim(tmp_path, 1, "", age_s=3601)
    assert FolderLock(tmp_path, "x", stale_s=3600).acquire().held()


def test_sign_of_life_keeps_the_lock(tmp_path):
    with FolderLock(tmp_path, "x", beat_s=0.05) as lock:
        path = tmp_path / "x.lock" / "00000001"
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 60
        while path.stat().st_mtime == 0:
            assert time.monotonic() < deadline, "no sign of life"
            time.sleep(0.01)
        assert lock.held()


def test_outnumbered_holder_knows_and_leaves_the_new_claim_alone(tmp_path):
    lock = FolderLock(tmp_path, "x").acquire()
    claim(tmp_path, 2, elsewhere())
    assert not lock.held()
    lock.release()
    assert "node7" in (tmp_path / "x.lock" / "00000002").read_text()


def test_many_who_find_the_same_dead_holder_agree_on_one(tmp_path):
    for round_ in range(20):
        folder = tmp_path / str(round_)
        folder.mkdir()
        claim(folder, 5, elsewhere(), age_s=100)
        won, start = [], threading.Barrier(8)

        def take(folder=folder, won=won, start=start):
            start.wait()
            with contextlib.suppress(Busy):
                won.append(FolderLock(folder, "x").acquire())

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([lock for lock in won if lock.held()]) == 1
        assert len(won) == 1
        won[0].release()


def test_critical_section_is_entered_by_one_process_at_a_time(tmp_path):
    code = """
import sys
from pathlib import Path
from webshop_rl.storage.lock import FolderLock
folder = Path(sys.argv[1])
for _ in range(25):
    with FolderLock(folder, "x").acquire(wait_s=30, patience_alive_s=30):
        number = int((folder / "number").read_text())
        (folder / "number").write_text(str(number + 1))
"""
    (tmp_path / "number").write_text("0")
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=REPOSITORY) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "75"
    assert len(list((tmp_path / "x.lock").iterdir())) <= 9


def test_a_copied_folder_is_not_locked_by_the_holder_of_the_original(tmp_path):
    with FolderLock(tmp_path / "original", "run").acquire():
        shutil.copytree(tmp_path / "original", tmp_path / "copy")
        copy = FolderLock(tmp_path / "copy", "run")
        assert copy.holder() is None
        copy.acquire().release()
        assert FolderLock(tmp_path / "original", "run").holder() is not None
        (tmp_path / "original").rename(tmp_path / "renamed")
        assert FolderLock(tmp_path / "renamed", "run").holder() is not None
