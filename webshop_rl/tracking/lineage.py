"""Goals of a run as datasets of MLflow, and its best checkpoint as a logged model.

Each is found again by what it is, so a replay that was killed and is done again stores it once. A logged
model contains no files: the weights stay in the run's folder, and the model says where.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webshop_rl.tracking.rows import Row, scan

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

MODEL_TAG = "webshop_rl.model"
MAX_DIGEST_CHARS = 36
_CONTEXT_TAG = "mlflow.data.context"
# MLflow refuses these in the name of a model.
_REFUSED = str.maketrans(dict.fromkeys("/:.%\"'", "_"))


def send_dataset(client: MlflowClient, run_id: str, row: Row) -> None:
    """Link a dataset to a run; MLflow keeps one of a name and digest, however many runs have it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=row["name"],
        digest=row["digest"],
        source_type="code",
        source=json.dumps({"tags": {"mlflow.source.name": row["source"]}}),
        profile=json.dumps(row["profile"]),
    )
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag(_CONTEXT_TAG, row["context"])])])


def send_model(client: MlflowClient, *, experiment_id: str, run_id: str, row: Row, journal: Path) -> None:
    """Make the logged model of a checkpoint if there is none, and link it to its run and metrics.

    Args:
        row: {"name", "step", "tags", "metrics": names, "dataset": {"name", "digest"}}; the values of the
            metrics are those of the journal's newest step.
    """
    from mlflow.entities import LoggedModelOutput

    model_id = _find_or_create(client, experiment_id, run_id, row)
    run = client.get_run(run_id)
    linked = {output.model_id for output in (run.outputs.model_outputs if run.outputs else ())}
    if model_id not in linked:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, row["step"])])
    client.log_batch(run_id, metrics=_metrics(journal, row, run_id, model_id))
    client.finalize_logged_model(model_id, "READY")


def _find_or_create(client: MlflowClient, experiment_id: str, run_id: str, row: Row) -> str:
    mark = f"{run_id}/{row['step']}"
    found = client.search_logged_models([experiment_id], f"tags.`{MODEL_TAG}` = '{mark}'", max_results=1)
    if found:
        return str(found[0].model_id)
    tags = {MODEL_TAG: mark, **row["tags"]}
    name = row["name"].translate(_REFUSED)
    return str(client.create_logged_model(experiment_id, name, run_id, tags=tags).model_id)


def _metrics(journal: Path, row: Row, run_id: str, model_id: str) -> list[Metric]:
    """The metrics as the run has them, time of recording included: then the run keeps one value of each."""
    from mlflow.entities import Metric

    newest: dict[str, Mapping[str, Any]] = {}
    for _, each in scan(journal):
        if each["kind"] == "metrics":
            newest |= {name: each for name in row["metrics"] if name in each["metrics"]}
    of = {"model_id": model_id, "run_id": run_id}
    tested = {f"dataset_{key}": value for key, value in row["dataset"].items()}
    return [
        Metric(name, each["metrics"][name], each["ts_ms"], each["step"], **of, **tested)
        for name, each in newest.items()
    ]
