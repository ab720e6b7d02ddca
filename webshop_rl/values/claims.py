"""Who samples which goal just now, so that concurrent runs share the work instead of doubling it.

A claim is advice, not a lock: samples are determined by their key, goal and index and the store drops
doubles, so two holders of one goal waste time and nothing else. That is why a claim whose holder has
died is simply taken over. Creation with O_EXCL is atomic on local disks and on NFS; nothing is locked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

_PROC = Path("/proc")
STALE_AFTER_S = 120.0  # above the minute for which NFS clients may show an old time of a file


class Claim:
    """Goals this process has claimed; a thread keeps them fresh until it is left or released."""

    def __init__(self, files: dict[str, Path], owner: str, stale_after_s: float) -> None:
        self.goals = list(files)
        self._files, self._owner, self._period_s = files, owner, stale_after_s / 4
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name="claims", daemon=True)
        if files:
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the goals back; harmless when done twice."""
        if self._files:
            self._stop.set()
            self._thread.join()
        for path in self._files.values():
            if _owner_of(path) == self._owner:
                path.unlink(missing_ok=True)
        self._files = {}

    def _keep_fresh(self) -> None:
        while not self._stop.wait(self._period_s):
            for path in list(self._files.values()):
                # One that another process has taken over is left to grow old by its own holder.
                if _owner_of(path) == self._owner:
                    with contextlib.suppress(OSError):
                        os.utime(path)  # no times given: the server's clock, the same for all nodes


class Claims:
    """The claims in one folder.

    Args:
        folder: where the claims are files; made if need be.
        stale_after_s: a claim not refreshed for so long may be taken over, seconds.
    """

    def __init__(self, folder: Path, *, stale_after_s: float = STALE_AFTER_S) -> None:
        self._folder, self._stale_after_s = folder, stale_after_s
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, goals: Iterable[str], *, limit: int | None = None, force: bool = False) -> Claim:
        """Claim up to limit of the goals, in their order, passing over those that others hold.

        Args:
            goals: goal ids.
            limit: how many at most; None for all.
            force: take goals over from living holders too.
        Returns: a claim of what was free or stale, perhaps of nothing.
        """
        pid = os.getpid()
        owner = json.dumps(
            {"host": socket.gethostname(), "pid": pid, "started": _start_of(pid), "id": uuid.uuid4().hex}
        )
        files: dict[str, Path] = {}
        now_s = self._now_s()
        for goal in goals:
            if limit is not None and len(files) >= limit:
                break
            path = self._folder / (hashlib.sha256(goal.encode()).hexdigest()[:32] + ".json")
            if self._create(path, owner) or (
                (force or self._stale(path, now_s)) and self._take_over(path, owner)
            ):
                files[goal] = path
        return Claim(files, owner, self._stale_after_s)

    @staticmethod
    def _create(path: Path, owner: str) -> bool:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w") as stream:
            stream.write(owner)
        return True

    def _take_over(self, path: Path, owner: str) -> bool:
        # Of several who find the claim stale, the rename lets one through (or, in a narrow race, two:
        # see the module's first words).
        grave = path.with_name(f".{uuid.uuid4().hex}.stale")
        try:
            os.rename(path, grave)
        except OSError:
            return self._create(path, owner)
        grave.unlink(missing_ok=True)
        return self._create(path, owner)

    def _stale(self, path: Path, now_s: float) -> bool:
        try:
            with open(path, encoding="utf-8") as stream:  # opening asks an NFS server for the latest
                age_s = now_s - os.fstat(stream.fileno()).st_mtime
                holder = stream.read()
        except OSError:
            return True  # released between our two looks
        return age_s > self._stale_after_s or _died_here(holder)

    def _now_s(self) -> float:
        """Time by the clock that stamps the claims, which on a network file system is the server's."""
        probe = self._folder / f".{uuid.uuid4().hex}.now"
        try:
            probe.touch()
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)


def _owner_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _died_here(holder: str) -> bool:
    """Whether the holder was a process of this machine that is no more: no need to wait for its claim."""
    try:
        record = json.loads(holder)
        host, pid, started = record["host"], int(record["pid"]), record["started"]
    except (ValueError, KeyError, TypeError):
        return False  # being written just now, or foreign: only its age tells
    return bool(host == socket.gethostname() and _start_of(pid) != started)


def _start_of(pid: int) -> str | None:
    """When a living process of this machine started, in the kernel's ticks; None if there is none.

    The start tells a process from a later one that was given the same number. A dead process that its
    parent has not waited for is dead. Where the kernel does not say, "" stands for any living one.
    """
    if not _PROC.exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return ""
    try:
        # After the name in brackets, which may hold anything: state is field 3, start is field 22.
        record = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if record[0] in "ZX" else record[19]
