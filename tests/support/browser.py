"""A real Chromium, driven over its own pipe by the DevTools protocol: no driver, no dependency."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_ANSWER_S = 120.0  # longest wait for an answer, on a machine that does other things
_KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "ArrowDown": (40, ""), "Tab": (9, "")}


def chromium() -> str:
    """The browser's program; skips the test where none is installed."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no Chromium is installed (none of {', '.join(NAMES)} on the PATH)")
    return found


class Browser:
    """One page of a headless Chromium.

    Attributes:
        errors: what the page reported: exceptions, console errors, resources that did not load.
        requests: addresses that the page asked for.
    """

    def __init__(self, receive: int, send: int) -> None:
        self._receive = receive
        self._send = send
        self._read = b""
        self._number = 0
        self._session = ""
        self._loaded = False
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def open(self, page: Path, *, width: int = 1280, dark: bool = False) -> None:
        """Load a file at a width in pixels, and wait until all of it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.errors.clear()
        self.requests.clear()
        self._loaded = False
        self.call("Page.navigate", url=page.as_uri())
        while not self._loaded:
            self._handle(self._message())

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key: a letter, or one of _KEYS."""
        code, text = _KEYS.get(key, (ord(key[0].upper()), key))
        given = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **given)
        self.call("Input.dispatchKeyEvent", type="keyUp", **given)

    def type(self, text: str) -> None:
        """Press a key for each letter."""
        for letter in text:
            self.press(letter)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                result: dict[str, Any] = answer["result"]
                return result
            self._handle(answer)

    def _handle(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(str(params["entry"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + _ANSWER_S
        while b"\0" not in self._read:
            # Not select.select: a process that has run many tests may have over 1,024 files open.
            waiting = select.poll()
            waiting.register(self._receive, select.POLLIN)
            ready = waiting.poll(1000 * max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            read = os.read(self._receive, 1 << 16)
            assert read, "the browser has ended"
            self._read += read
        message, self._read = self._read.split(b"\0", 1)
        found: dict[str, Any] = json.loads(message)
        return found


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with its profile in a folder; it is ended whatever happens.

    Raises: pytest's skip where no Chromium is installed.
    """
    program = chromium()
    to_read, send = os.pipe()
    receive, to_write = os.pipe()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
    # The protocol is read from descriptor 3 and written to descriptor 4.
    theirs = [_moved_up(to_read), _moved_up(to_write)]
    command = ["bash", "-c", f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}', "bash", program, *options]
    with (folder / "stderr.txt").open("wb") as stderr:
        process = subprocess.Popen(
            command, stdout=stderr, stderr=stderr, pass_fds=theirs, start_new_session=True
        )
    for descriptor in theirs:
        os.close(descriptor)
    try:
        yield Browser(receive, send)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(send)
        os.close(receive)


def _moved_up(descriptor: int) -> int:
    """The same file under a number beyond those that the browser expects its own under."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10)
    os.close(descriptor)
    return moved
