"""Recorded episodes as MLflow traces: one trace an episode, one span a turn, its score as feedback.

The first episode of a file is the newest of the traces, so that it is the first that MLflow lists.
MLflow stores each span as it ends and names the trace only when its root ends, so a kill among them
leaves a nameless piece. The id of the trace under way is therefore noted first, in
`<file>.sending`; the next replay removes the piece and sends the episode again. Episodes that
arrived carry a tag and are left alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webshop_rl.storage.files import replace_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRACE_TAG = "webshop_rl.trace"
SCORE_TAG = "score"
SUCCESS_TAG = "success"
_SOURCE = "webshop_rl.evaluation"
_SHOWN_ELSEWHERE = ("goal", "instruction", "turns", "feedback")
# Episodes are recorded without times: a nanosecond a turn keeps their order and shows a duration of 0 ms.
_TURN_NS = 1
_MS_NS = 1_000_000
# Between the parts of a page, as shops print it.
_SEPARATOR = re.compile(r"\s*\[SEP\]\s*")


def send_traces(
    client: MlflowClient, uri: str, *, experiment_id: str, run_id: str, path: Path, ts_ms: int
) -> None:
    """Send the episodes of a file that the tracker does not have yet, and wait until they are there.

    Args:
        client: of the tracker at uri.
        path: JSON list of {"goal", "score", "feedback": {name: value}, "turns": [{"page", "reply", "action",
            "reward", "parts"}], ...}.
        ts_ms: when they were recorded, milliseconds since 1970.
    Raises: RuntimeError if a trace did not arrive; MLflow's exporter only logs that.
    """
    os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"  # its queue drops what it cannot hold
    import mlflow

    mlflow.set_tracking_uri(uri)
    note = path.with_name(f"{path.name}.sending")
    if note.exists():
        _remove_piece(client, experiment_id, note.read_text())
    for index, episode in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        mark = f"{run_id}/{path.stem}/{index}"
        if not _arrived(client, experiment_id, mark):
            _send(episode, note, experiment_id, run_id, mark, start_ns=(ts_ms - index) * _MS_NS)
            if not _arrived(client, experiment_id, mark):
                raise RuntimeError(f"trace {mark} did not arrive")
    note.unlink(missing_ok=True)


def _send(
    episode: Mapping[str, Any], note: Path, experiment_id: str, run_id: str, mark: str, *, start_ns: int
) -> None:
    import mlflow
    from mlflow.entities import AssessmentSource
    from mlflow.tracing.provider import safe_set_span_in_context

    turns, score = episode.get("turns", []), episode.get("score")
    feedback = episode.get("feedback", {})
    won = "yes" if score == 1 else "no"
    root = mlflow.start_span_no_context(
        "episode",
        span_type="AGENT",
        inputs={key: episode[key] for key in ("instruction", "goal") if key in episode},
        attributes={k: v for k, v in episode.items() if k not in _SHOWN_ELSEWHERE},
        # MLflow's own state is OK for every episode that was played to its end, won or lost.
        tags={TRACE_TAG: mark} | ({} if score is None else {SCORE_TAG: f"{score:g}", SUCCESS_TAG: won}),
        metadata={"mlflow.sourceRun": run_id},
        experiment_id=experiment_id,
        start_time_ns=start_ns,
    )
    replace_file(note, root.trace_id)
    for number, turn in enumerate(turns, 1):
        began = start_ns + (number - 1) * _TURN_NS
        span = mlflow.start_span_no_context(
            f"turn {number}",
            span_type="TOOL",
            parent_span=root,
            inputs={"page": _SEPARATOR.sub("\n", turn.get("page", ""))},
            start_time_ns=began,
        )
        span.set_outputs({k: turn[k] for k in ("reply", "action", "reward", "parts") if k in turn})
        span.end(end_time_ns=began + _TURN_NS)
    root.set_outputs({"score": score, "success": won} | {k: v for k, v in feedback.items() if k == "reason"})
    # Feedback to the active trace is stored together with it, so a kill leaves neither without the other.
    with safe_set_span_in_context(root):
        for name, value in feedback.items():
            mlflow.log_feedback(
                trace_id=root.trace_id, name=name, value=value, source=AssessmentSource("CODE", _SOURCE)
            )
    root.end(end_time_ns=start_ns + max(1, len(turns)) * _TURN_NS)


def _arrived(client: MlflowClient, experiment_id: str, mark: str) -> bool:
    found = client.search_traces(
        locations=[experiment_id], filter_string=f"tags.`{TRACE_TAG}` = '{mark}'", include_spans=False
    )
    return len(found) > 0


def _remove_piece(client: MlflowClient, experiment_id: str, trace_id: str) -> None:
    for trace in client.search_traces(
        locations=[experiment_id], filter_string=f"request_id = '{trace_id}'", include_spans=False
    ):
        if TRACE_TAG not in trace.info.tags:
            client.delete_traces(experiment_id, trace_ids=[trace_id])
