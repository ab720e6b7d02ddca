"""An MLflow server over a root's database, with the settings that are fast: `webshop-rl ui`.

    webshop-rl ui --root runs --port 5000
    webshop-rl train tracking.uri=http://127.0.0.1:5000 ...

One worker without the job runner answers a client in 5 ms; MLflow's defaults take 50 ms and 15
processes. It listens on loopback unless asked otherwise, and then answers only to this machine's names.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from webshop_rl.cli import command, invocation
from webshop_rl.errors import UserError
from webshop_rl.storage.folders import Root
from webshop_rl.tracking.config import default_uri
from webshop_rl.tracking.database import create_database

_DEFAULT_ROOT = Path("runs")  # made if it is not there: a server may come before the first run

_ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}

# MLflow's pages for prompts and judges come first otherwise.
_PAGE = "#/experiments?workflowType=machine_learning"


def server_command(root: Path, *, host: str, port: int, allowed: Sequence[str]) -> list[str]:
    """The command line of the server.

    Args:
        root: absolute folder that contains, or will contain, mlflow.db and mlartifacts/.
        host: interface to listen on.
        port: TCP port.
        allowed: further names under which clients address the server.
    """
    names = ["localhost", "127.0.0.1", *allowed]
    if host not in ("localhost", "127.0.0.1"):
        names += [socket.gethostname(), socket.getfqdn(), *_addresses()]
        names += [] if host == "0.0.0.0" else [host]
    hosts = ",".join(f"{name},{name}:*" for name in dict.fromkeys(names))
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--host", host, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", default_uri(root)),
        *("--serve-artifacts", "--artifacts-destination", str(Root(root).artifacts)),
        *("--allowed-hosts", hosts),
    ]


def server_environment() -> dict[str, str]:
    """The environment of the server: this one's and the fast settings."""
    return {**os.environ, **_ENVIRONMENT}


def _addresses() -> list[str]:
    try:
        return list(
            dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None))
        )
    except OSError:
        return []


def _check_free(host: str, port: int) -> None:
    """Raises: UserError if the server could not listen there."""
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cannot listen on {host}:{port}: {error}", where="--port", remedy="give another, 1024-65535"
        ) from error


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; its exit code, 2 if it cannot start, 130 at Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog=f"{invocation()} ui", description="A fast MLflow server over a root's database."
    )
    parser.add_argument("--root", type=Path, default=_DEFAULT_ROOT, help="root of the runs (default: runs)")
    parser.add_argument("--host", default="127.0.0.1", help="interface; 0.0.0.0 for all (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--allowed-host", action="append", default=[], help="a further name of this server")
    options = parser.parse_args(arguments)
    root = options.root.expanduser().resolve()
    if options.root != _DEFAULT_ROOT and not root.is_dir():
        raise UserError("no such folder", where=f"--root {options.root}", remedy="make it first")
    _check_free(options.host, options.port)
    create_database(Root(root).database)
    command = server_command(root, host=options.host, port=options.port, allowed=options.allowed_host)
    print(f"MLflow on http://{options.host}:{options.port} over {root}; the runs:", flush=True)
    print(f"http://{options.host}:{options.port}/{_PAGE}", flush=True)
    return _serve(command)


def _serve(command: Sequence[str]) -> int:
    """Run the server until it ends, or a signal ends this process and it; its exit code."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    # In a session of its own: at Ctrl-C each of its processes would print a page of Python.
    server = subprocess.Popen(command, env=server_environment(), start_new_session=True)
    try:
        return server.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


if __name__ == "__main__":
    raise SystemExit(main())
