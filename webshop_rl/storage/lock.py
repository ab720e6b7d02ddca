"""One holder at a time for a folder, on a shared file system too, whoever is killed.

The lock is a folder of numbered claims. Whoever creates the next number (O_EXCL, which NFS keeps
too) holds the lock; a claim is never taken from its owner but outnumbered, so two processes that
find the same dead owner cannot both win. A claim may be outnumbered when its owner

  - gave it back,
  - made it elsewhere: a claim names its own inode, and a copy of a folder is not locked by the original's,
  - ran on this machine and is gone (process id and start time; a zombie is gone), or
  - ran elsewhere and has not touched it for `stale_s` by the file server's clock.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

BEAT_S = 5.0
STALE_S = 30.0
_KEPT_CLAIMS = 8  # a reader whose listing is old must not find its number free again
PATIENCE_ALIVE_S = 3.0
_INODE = "inode"


@dataclass(frozen=True)
class Owner:
    """Who made a claim; `machine` is host, boot and process-id namespace in one string."""

    host: str
    machine: str
    pid: int
    start: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Busy(Exception):
    """Someone else holds the lock."""

    def __init__(self, owner: Owner | None) -> None:
        super().__init__(f"held by {owner or 'an unknown process'}")
        self.owner = owner


class FolderLock:
    """The lock of one name in a folder.

    Args:
        folder: where it lives, as `<name>.lock/`.
        name: what it guards.
        stale_s: silence, in seconds, after which an owner on another machine counts as dead.
        beat_s: seconds between two signs of life.
        disposable: leave nothing behind when released. Of two processes that come at that moment both
            may then hold the lock: only for what may be done twice.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        stale_s: float = STALE_S,
        beat_s: float = BEAT_S,
        disposable: bool = False,
    ) -> None:
        self.folder = folder / f"{name}.lock"
        self.stale_s = stale_s
        self.beat_s = beat_s
        self._disposable = disposable
        self._number = 0
        self._stop = threading.Event()

    def acquire(
        self, wait_s: float = 0.0, *, patience_alive_s: float | None = None, take_over: bool = False
    ) -> FolderLock:
        """Take the lock, waiting up to wait_s for it.

        An owner known to be alive on this machine is waited for no longer than patience_alive_s
        (3 s if not given): long enough for one that is just ending. With take_over nobody is waited
        for: the lock is taken from a living owner too.
        Raises: Busy.
        """
        patient_s = PATIENCE_ALIVE_S if patience_alive_s is None else patience_alive_s
        began = time.monotonic()
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            newest = self._newest()
            verdict, owner = self._judge(newest)
            if verdict == "free" or take_over:
                if self._claim(newest + 1):
                    return self
                continue
            patience = min(wait_s, patient_s) if verdict == "alive" else wait_s
            if time.monotonic() - began >= patience:
                raise Busy(owner)
            time.sleep(0.05)

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if not self._number:
            return
        self._stop.set()
        if self.held():
            if self._disposable:
                shutil.rmtree(self.folder, ignore_errors=True)
            else:
                self._path(self._number).write_text("{}")
        self._number = 0

    def held(self) -> bool:
        """Whether this object still holds the lock (false once another has taken it over)."""
        return self._number > 0 and self._newest() == self._number

    def holder(self) -> Owner | None:
        """Who seems to hold the lock now, or None."""
        verdict, owner = self._judge(self._newest())
        return None if verdict == "free" else owner

    def __enter__(self) -> FolderLock:
        return self if self._number else self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}"

    def _newest(self) -> int:
        try:
            return max((int(n) for n in os.listdir(self.folder) if n.isdigit()), default=0)
        except FileNotFoundError:
            return 0

    def _claim(self, number: int) -> bool:
        try:
            handle = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except (FileExistsError, FileNotFoundError):
            return False  # another was faster; or a disposable lock's folder was just removed
        with os.fdopen(handle, "w") as file:
            json.dump({**asdict(this_process()), _INODE: os.fstat(file.fileno()).st_ino}, file)
        self._number = number
        if not self.held():
            self.release()
            return False
        for name in os.listdir(self.folder):
            if name.isdigit() and int(name) <= number - _KEPT_CLAIMS:
                (self.folder / name).unlink(missing_ok=True)
        self._stop = threading.Event()
        threading.Thread(target=self._beat, args=(self._path(number), self._stop), daemon=True).start()
        return True

    def _beat(self, path: Path, stop: threading.Event) -> None:
        while not stop.wait(self.beat_s):
            try:
                os.utime(path)
            except OSError:
                continue  # a file server that is away now may be back at the next beat

    def _judge(self, number: int) -> tuple[str, Owner | None]:
        """("free" | "alive" | "elsewhere", owner) of a claim."""
        try:
            # Opening, not stat: a network file system then asks the server for the true age.
            with self._path(number).open() as file:
                content, found = file.read(), os.fstat(file.fileno())
        except FileNotFoundError:
            return "free", None
        touched = found.st_mtime
        try:
            fields = json.loads(content)
            if not fields or fields.pop(_INODE, found.st_ino) != found.st_ino:
                return "free", None
            owner = Owner(**fields)
        except (ValueError, TypeError, AttributeError):
            return self._by_age(touched), None  # being written, or its writer was killed there
        here = this_process()
        if owner.machine == here.machine:
            return ("alive" if start_of(owner.pid) == owner.start else "free"), owner
        return self._by_age(touched), owner

    def _by_age(self, touched: float) -> str:
        probe = self.folder / f"probe.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}"
        try:
            probe.touch()
            age = probe.stat().st_mtime - touched
        except FileNotFoundError:
            return "free"  # a disposable lock's folder was just removed
        finally:
            probe.unlink(missing_ok=True)
        return "free" if age > self.stale_s else "elsewhere"


def this_process() -> Owner:
    """The calling process as the owner of a claim."""
    host = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = namespace = ""
    return Owner(host, f"{host} {boot} {namespace}", os.getpid(), start_of(os.getpid()))


def start_of(pid: int) -> str:
    """What tells a process from a later one of the same id; "" if there is none (or a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() else _start_without_proc(pid)
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]


def _start_without_proc(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"
