"""Where pretrained weights are, looked up before anything is loaded or queued; imports no torch."""

from __future__ import annotations

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
            "the folder holds no config.json",
            where=f"model.path={path}",
            remedy="name a folder that save_pretrained wrote",
        )
    if not folder.is_dir() and (path.startswith(("/", ".", "~")) or path.count("/") > 1):
        raise UserError(
            "no such folder", where=f"model.path={path}", remedy="give the folder of a model, or its hub name"
        )
    return path, {"revision": revision} if revision else {}


def check_weights(name: str, path: str, gguf_file: str | None, revision: str | None) -> None:
    """See that weights can be had: locally, from the hub's cache, or from the hub.

    Raises: UserError if none of them has the model.
    """
    locate(name, path, gguf_file, revision)
    if gguf_file is not None or Path(path).is_dir():
        return
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(try_to_load_from_cache(path, "config.json", revision=revision), str):
        return
    remedy = "give a local folder with model.path=..., or launch where the hub can be reached"
    if constants.HF_HUB_OFFLINE:
        raise UserError("not in the hub's cache, and offline", where=f"model.path={path}", remedy=remedy)
    try:
        HfApi().model_info(path, revision=revision, timeout=HUB_PATIENCE_S)
    except (RepositoryNotFoundError, RevisionNotFoundError, ValueError) as error:
        raise UserError("the hub has no such model", where=f"model.path={path}", remedy=remedy) from error
    except Exception as error:
        # Whatever the network stack raises (its classes differ by version): without an answer from the
        # hub the run could not start.
        problem = f"the hub does not answer ({type(error).__name__})"
        raise UserError(problem, where=f"model.path={path}", remedy=remedy) from error
