"""What can be exported, and where to; imports no torch."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from webshop_rl.config.walk import facts_of, known_keys
from webshop_rl.errors import UserError
from webshop_rl.evaluate.configuration import Configured, Request, configure
from webshop_rl.evaluate.target import Kind, Target


def see_room(out: Path) -> None:
    """See that a folder can be made there. Raises: UserError if something is there, or it cannot."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise UserError("is there already", where=f"--out {out}", remedy="give another folder, or remove it")
    parent = out.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=".", dir=parent)).rmdir()
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        raise UserError(what, where=f"--out {out}", remedy="give another folder") from error


def configured_for(target: Target, overrides: Sequence[str], *, adapter: bool) -> Configured:
    """The configuration of the run that is exported, its places as the overrides say.

    Raises: UserError if it is no run, an override is more than a place, or what would be written could
        not be loaded.
    """
    if target.kind is not Kind.RUN:
        raise UserError(
            "not a trained run", where=target.name, remedy="name a run, or <run>/checkpoints/update_N of one"
        )
    known = {name for name, _ in known_keys()}
    for word in overrides:
        key = word.partition("=")[0]
        if key != "root" and not (key in known and facts_of(key).place):
            raise UserError(
                "a run is exported as it was trained",
                where=word,
                remedy="what can be given is where things are now: root=, env.data_dir=, model.path=",
            )
    configured = configure(target, Request(), overrides)
    model = configured.cfg.model
    model.check_export(asdict(model), adapter=adapter)
    return configured
