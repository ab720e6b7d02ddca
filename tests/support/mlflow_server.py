"""A real MLflow server in a process of its own."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request

import psutil

from tests.support.paths import REPOSITORY


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """`webshop-rl ui` in a root of its own."""

    def __init__(self, root):
        self.root, self.port = root, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        if self.process is None:
            command = ["-m", "webshop_rl.tracking.serve", "--root", str(self.root), "--port", str(self.port)]
            self.log = (self.root / "server.log").open("wb")
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=REPOSITORY, stdout=self.log, stderr=subprocess.STDOUT
            )
            deadline = time.monotonic() + 180
            while not self.answers():
                assert time.monotonic() < deadline, (self.root / "server.log").read_text()
                time.sleep(0.1)
        return self

    def answers(self):
        try:
            return urllib.request.urlopen(f"{self.url}/health", timeout=2).status == 200
        except OSError:
            return False

    def signal(self, number):
        parent = psutil.Process(self.process.pid)
        for process in [parent, *parent.children(recursive=True)]:
            process.send_signal(number)

    def query(self, text):
        with sqlite3.connect(self.root / "mlflow.db") as connection:
            return connection.execute(text).fetchall()
