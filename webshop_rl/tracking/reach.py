"""Whether an MLflow server can be reached, found out in a bounded time and without importing mlflow."""

from __future__ import annotations

import base64
import json
import os
import ssl
import threading
import urllib.error
import urllib.request
from typing import Any

from webshop_rl.errors import UserError

_QUESTION = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
_REMEDY = "start it (webshop-rl ui), correct tracking.uri, or launch with tracking=journal"


def check_server(url: str, *, timeout_s: float) -> None:
    """Ask the server one question of MLflow's API.

    Raises: UserError if nothing answers within timeout_s, or it is not MLflow, or it refuses access.
    """
    answer: list[Any] = []
    # A thread, for the time-out of a request does not cover the look-up of its host's name.
    asking = threading.Thread(target=lambda: answer.append(_ask(url, timeout_s)), daemon=True)
    asking.start()
    asking.join(timeout_s + 1.0)
    problem = answer[0] if answer else f"no answer in {timeout_s:g} s"
    if problem:
        raise UserError(f"the MLflow server cannot be used: {problem}", where=url, remedy=_REMEDY)


def _ask(url: str, timeout_s: float) -> str | None:
    """What is wrong with the server, or None."""
    request = urllib.request.Request(url + _QUESTION, headers=_credentials())
    try:
        with urllib.request.urlopen(request, timeout=timeout_s, context=_tls()) as response:
            content = response.read(100_000)
        known = "experiment" in json.loads(content)
    except urllib.error.HTTPError as error:
        content = error.read(100_000)
        if error.code in (401, 403):
            return f"it refuses access (HTTP {error.code}): {_line(content)}"
        try:
            # An unknown experiment is an answer of MLflow's too.
            known = json.loads(content)["error_code"] == "RESOURCE_DOES_NOT_EXIST"
        except (ValueError, KeyError, TypeError):
            return f"it answers HTTP {error.code}: {_line(content)}"
    except ValueError:
        known = False
    except OSError as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    return None if known else "what answers there is not MLflow"


def _line(content: bytes) -> str:
    return " ".join(content.decode(errors="replace").split())[:120]


def _credentials() -> dict[str, str]:
    """The credentials MLflow's own client would send."""
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if token:
        return {"Authorization": f"Bearer {token}"}
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    if user:
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return {}


def _tls() -> ssl.SSLContext | None:
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("1", "true"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    return None
