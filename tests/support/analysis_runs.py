"""Runs as the report reads them, made by hand."""

from __future__ import annotations

from analysis.load import Run, Sweep


def make_run(
    algo: str = "apo_pg",
    seed: int = 0,
    score: float | None = None,
    *,
    status: str = "FINISHED",
    tags: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
    **params: str,
) -> Run:
    """A run of one algorithm; its success is its score. Further params: `__` stands for a dot."""
    config = {
        "algo._target_": f"somewhere.{algo}",
        "algo.name": algo,
        "env.name": "webshop",
        "env.split": "product",
        "lr": "5e-06",
        "model.init_seed": "0",
        "num_updates": "20",
        "seed": str(seed),
    }
    config |= {key.replace("__", "."): value for key, value in params.items()}
    measured = {} if score is None else {"test/score": score, "test/success": score}
    signature = f"{algo}-{config['lr']}-{seed}"
    return Run(
        run_id=f"id-{signature}",
        name=signature,
        status=status,
        params=config,
        tags={"signature": signature, "split_digest": "d1", "code_digest": "c0de", **(tags or {})},
        metrics={**measured, **(metrics or {})},
        adopted=False,
        started=seed,
        record=None,
    )


def make_sweep(runs: list[Run], **fields: object) -> Sweep:
    """A sweep of these runs."""
    given = {"replaced": (), "unrecorded": {}, **fields}
    return Sweep(name="study", uri="sqlite:///x", status="FINISHED", runs=runs, **given)  # type: ignore[arg-type]
