"""Whether runs that are about to start find reference returns of V* that other code sampled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from webshop_rl.launching.runs.compose import ComposedRun
from webshop_rl.launching.runs.plan import CodeChanged, Planned
from webshop_rl.launching.runs.signature import acting_signature
from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.values.store import ReturnStore


def check_reference_returns(
    root: Path, runs: Sequence[tuple[ComposedRun, Planned]], *, code: str, on_code_change: str
) -> None:
    """See that V* of these runs has samples of this code or none, unless it is decided what to do.

    The store's key names the code, so no sample passes for another code's, whatever is found here. This
    is about cost: sampling again is for the user to decide, before there is any.

    Args:
        root: folder of the runs.
        runs: those of a launch.
        code: digest of the code that decides an episode (source.acting_code_digest).
        on_code_change: refuse, reuse or rerun.
    Raises: CodeChanged.
    """
    if on_code_change != "refuse":
        return
    store, seen = ReturnStore(Root(root).vstar), set[str]()
    for composed, planned in runs:
        configuration = acting_signature(composed.fields)
        if not planned.executes or "algo.vstar_samples" not in composed.fields or configuration in seen:
            continue
        if (read_json(RunFolder(planned.folder).vstar) or {}).get("code") == code:
            continue  # goes on with the samples it began with
        seen.add(configuration)
        keys = store.keys_used_by(configuration)
        if keys and not any(key.get("code") == code and "reuses" not in key for key in keys):
            raise CodeChanged(
                f"reference returns of V* were sampled with other code ({keys[-1].get('code')}, now {code})",
                where="on_code_change",
                remedy="reuse: take them over | rerun: sample them again beside the old",
            )
