"""Where pretrained weights are, looked up before anything is loaded or queued; imports no torch."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from webshop_rl.errors import UserError

HUB_PATIENCE_S = 10.0


def locate(name: str, path: str, gguf_file: str | None, revision: str | None) -> tuple[str, dict[str, Any]]:
    """What to hand to transformers: a folder or hub name, and its options.

    Raises: UserError if a folder lacks what it must hold.
    """
    folder = Path(path)
    if gguf_file is not None:
        found = sorted(folder.glob("*.gguf")) if gguf_file == "auto" else [folder / gguf_file]
        if not found or not found[0].is_file():
            raise UserError(
                "the weights are not there",
                where=f"model.path={path}",
                remedy=f"run `make smollm2`, or set model.path to the folder of the .gguf file of {name}",
            )
        return str(folder), {"gguf_file": found[0].name}
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise UserError(
            "the folder contains no config.json",
            where=f"model.path={path}",
            remedy="name a folder that save_pretrained wrote",
        )
    if not folder.is_dir() and (path.startswith(("/", ".", "~")) or path.count("/") > 1):
        raise UserError(
            "no such folder", where=f"model.path={path}", remedy="give the folder of a model, or its hub name"
        )
    return path, {"revision": revision} if revision else {}


def check_weights(name: str, path: str, gguf_file: str | None, revision: str | None) -> str | None:
    """See that weights can be had: locally, from the hub's cache, or from the hub.

    Returns: the commit of a hub model, whatever branch or tag `revision` names; `revision` for files.
    Raises: UserError if none of them has the model.
    """
    locate(name, path, gguf_file, revision)
    if gguf_file is not None or Path(path).is_dir():
        return revision
    return hub_commit(path, revision)


@functools.cache
def hub_commit(path: str, revision: str | None) -> str:
    """The commit that a revision of a hub model is at; asked once a process.

    A commit that is in the cache needs no hub. For a branch, a tag or None (the default branch) the hub
    is asked, and where it does not answer the cache's latest counts.

    Args:
        path: the hub's name of the model.
        revision: a commit, branch or tag; None is the default branch.
    Raises: UserError if neither hub nor cache has it.
    """
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    file = try_to_load_from_cache(path, "config.json", revision=revision)
    cached = Path(file).parent.name if isinstance(file, str) else None  # .../snapshots/<commit>/config.json
    if cached is not None and (cached == revision or constants.HF_HUB_OFFLINE):
        return cached
    remedy = "give a local folder with model.path=..., or launch where the hub can be reached"
    if constants.HF_HUB_OFFLINE:
        raise UserError("not in the hub's cache, and offline", where=f"model.path={path}", remedy=remedy)
    try:
        commit = HfApi().model_info(path, revision=revision, timeout=HUB_PATIENCE_S).sha
        if commit is not None:
            return commit
        problem: tuple[str, Exception | None] = ("the hub names no commit", None)
    except (RepositoryNotFoundError, RevisionNotFoundError, ValueError) as error:
        problem = ("the hub has no such model", error)
    except Exception as error:
        # Whatever the network stack raises (its classes differ by version): without an answer from the
        # hub the run could not start.
        problem = (f"the hub does not answer ({type(error).__name__})", error)
    if cached is not None:
        return cached
    raise UserError(problem[0], where=f"model.path={path}", remedy=remedy) from problem[1]
