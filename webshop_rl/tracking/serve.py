"""An MLflow server over a root's database, with the settings that are fast: `webshop-rl ui`.

    webshop-rl ui --root runs --port 5000
    webshop-rl ui SWEEP
    webshop-rl train tracking.uri=http://127.0.0.1:5000 ...

Its page of runs opens in the browser, where there is one. Runs of the root that its database lacks (they were
recorded with tracking=journal, or it was deleted) are replayed meanwhile.

One worker without the job runner answers a client in 5 ms; MLflow's defaults take 50 ms and 15
processes. It listens on loopback unless asked otherwise, and then answers only to this machine's names.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from webshop_rl.cli import command, invocation
from webshop_rl.errors import UserError
from webshop_rl.storage.folders import Root
from webshop_rl.tracking.config import default_uri
from webshop_rl.tracking.database import create_database
from webshop_rl.tracking.sync import lacking, sync_all
from webshop_rl.tracking.view import experiment_of, runs_page, saved_view

_DEFAULT_ROOT = Path("runs")  # made if it is not there: a server may come before the first run

_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONWARNINGS": "ignore:starlette",  # of MLflow's own code, to whoever maintains it
}
_TIMEOUT_S = 30.0  # longest wait for one answer of the server


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
        # Not a line for each request: the address is what is looked for.
        *("--uvicorn-opts", "--log-level warning"),
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
    parser.add_argument("sweep", nargs="?", metavar="SWEEP", help="open on its runs, the best first")
    parser.add_argument("--root", type=Path, default=_DEFAULT_ROOT, help="root of the runs (default: runs)")
    parser.add_argument("--host", default="127.0.0.1", help="interface; 0.0.0.0 for all (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--no-browser", action="store_true", help="print the address alone")
    parser.add_argument("--allowed-host", action="append", default=[], help="a further name of this server")
    options = parser.parse_args(arguments)
    root = options.root.expanduser().resolve()
    if options.root != _DEFAULT_ROOT and not root.is_dir():
        raise UserError("no such folder", where=f"--root {options.root}", remedy="make it first")
    _check_free(options.host, options.port)
    create_database(Root(root).database)
    command = server_command(root, host=options.host, port=options.port, allowed=options.allowed_host)
    base = f"http://{options.host}:{options.port}"
    print(f"MLflow starts on {base} over {root}", flush=True)
    opens = _has_browser() and not options.no_browser
    given = {"sweep": options.sweep, "opens": opens}
    threading.Thread(target=_prepare, args=(root, base), kwargs=given, daemon=True).start()
    return _serve(command)


def _prepare(root: Path, base: str, *, sweep: str | None, opens: bool) -> None:
    """Once the server answers: replay what the database lacks, save the view, name the page of runs.

    Args:
        sweep: whose runs are shown alone.
        opens: whether the page is opened in the browser, too.
    """
    while not _answers(base):
        time.sleep(0.2)
    database = Root(root).database
    folders, elsewhere = lacking(root)
    if folders and experiment_of(database, sweep) is None:
        _bring_up_to_date(root, folders)  # there is nothing to be shown before
        folders = []
    experiment = experiment_of(database, sweep)
    page = runs_page(base, experiment, experiment and _save_view(base, experiment, sweep))
    print(f"the runs: {page}", flush=True)
    if opens:
        webbrowser.open(page)
    if sweep is not None and experiment is None:
        print(f"warning: MLflow has no run of sweep {sweep}", flush=True)
    for uri, number in elsewhere.items():
        print(f"{number} runs of {root} are recorded at {uri}, and shown there", flush=True)
    if folders:
        _bring_up_to_date(root, folders)


def _bring_up_to_date(root: Path, folders: Sequence[Path]) -> None:
    outcomes = [outcome for _, outcome in sync_all(folders, default_uri(root), timeout_s=_TIMEOUT_S)]
    problems = [outcome for outcome in outcomes if isinstance(outcome, str)]
    print(f"{len(outcomes) - len(problems)} runs were brought up to date", flush=True)
    for problem in dict.fromkeys(problems):
        print(f"not all of {root} is shown: {problem}", flush=True)


def _answers(base: str) -> bool:
    """Whether the server answers."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{base}/health", timeout=_TIMEOUT_S):
        return True
    return False


def _save_view(base: str, experiment_id: str, sweep: str | None) -> str | None:
    """Save the view of the page of runs with the experiment; its key, None if the server does not take it.

    MLflow opens its page for prompts where an address names a view that is not there.
    """
    key, value = saved_view(sweep)
    request = urllib.request.Request(
        f"{base}/api/2.0/mlflow/experiments/set-experiment-tag",
        data=json.dumps({"experiment_id": experiment_id, "key": key, "value": value}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=_TIMEOUT_S):
        return key
    return None


def _has_browser() -> bool:
    """Whether a page can be opened before the eyes of who runs this: not over ssh, not in a container."""
    return sys.stdout.isatty() and (
        sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    )


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
