"""A checkpoint as a Hugging Face folder, there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from webshop_rl.build import build_agent, build_algorithm, build_shop
from webshop_rl.config.groups import ModelConfig
from webshop_rl.config.schema import RunConfig
from webshop_rl.errors import UserError
from webshop_rl.evaluate.configuration import Configured
from webshop_rl.evaluate.target import Target
from webshop_rl.evaluate.weights import checkpoint_of, load_weights
from webshop_rl.export.card import CARD, RECORD, Exported, model_card
from webshop_rl.interface.codec import vocabulary_digest
from webshop_rl.models.agent import Agent
from webshop_rl.models.initial import VOCABULARY
from webshop_rl.storage.files import read_json, sync
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.weights import WEIGHTS, read_header
from webshop_rl.training.checkpoint import Checkpoint


def export(target: Target, configured: Configured, out: Path, *, adapter: bool) -> Exported:
    """Write the policy of a run's checkpoint, and what it was trained on and measured at.

    Args:
        configured: as request.configured_for returns it.
        out: a folder that is absent or empty.
        adapter: write the LoRA adapters and the name of their base, in place of the merged model.
    Returns: what was exported.
    Raises: UserError if the weights are not those of this model and these data.
    """
    checkpoint = checkpoint_of(target)
    assert checkpoint is not None
    assert target.place is not None
    cfg = configured.home
    shop = build_shop(cfg.env, cfg.curriculum)
    critic = build_algorithm(cfg.algo).needs_critic
    agent = build_agent(_plain(cfg.model), shop, critic=critic, device=torch.device("cpu"))
    _check_vocabulary(checkpoint, agent)
    load_weights(checkpoint, agent)
    run = RunFolder(target.place)
    exported = Exported(
        run=run.name,
        update=checkpoint.update,
        config=cfg,
        identity=read_json(run.signature) or {},
        result=read_json(run.result),
        split_digest=shop.split_digest(),
        data_digest=shop.digest(),
        adapter=adapter,
        critic=critic,
    )
    with _new_folder(out) as folder:
        _write_model(agent, folder, cfg, adapter=adapter)
        agent.codec.save(folder)
        (folder / RECORD).write_text(json.dumps(exported.record(), indent=1) + "\n")
        (folder / CARD).write_text(model_card(exported))
    return exported


def _plain(model: ModelConfig) -> ModelConfig:
    """The model without what concerns the machine that trained it."""
    known: Mapping[str, Any] = {"gradient_checkpointing": False, "attention": "sdpa"}
    return replace(model, **{key: value for key, value in known.items() if hasattr(model, key)})


def _check_vocabulary(checkpoint: Checkpoint, agent: Agent) -> None:
    """Raises: UserError if ids would stand for other words than they were learnt for."""
    learnt = read_header(checkpoint.path / WEIGHTS).notes.get(VOCABULARY)
    if learnt not in (None, vocabulary_digest(agent.codec)):
        raise UserError(
            "the weights were learnt with another vocabulary",
            where=str(checkpoint.path),
            remedy="name the run's own data (env.data_dir=FOLDER) or base model (model.path=FOLDER)",
        )


def _write_model(agent: Agent, folder: Path, cfg: RunConfig, *, adapter: bool) -> None:
    """Weights and configuration; generate() ends a reply where the policy did, at its temperature."""
    model = agent.network.model
    if adapter:
        model.peft_config["default"].revision = getattr(cfg.model, "revision", None)
        model.save_pretrained(folder)
        return
    if agent.has_adapters:
        model = model.merge_and_unload()
    temperature = cfg.evaluation.temperature
    sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
    model.generation_config = GenerationConfig(
        eos_token_id=agent.codec.end, pad_token_id=agent.codec.pad, **sampling
    )
    model.save_pretrained(folder)


@contextlib.contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Within, a hidden folder beside `out` to write to; it takes `out`'s name once all is on the disk."""
    out = out.absolute()
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    _sweep_away(out)
    part.mkdir(parents=True)
    handle = os.open(part, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # as long as this process lives
        yield part
        for path in part.rglob("*"):
            if path.is_file():
                shutil.copymode(part / CARD, path)  # safetensors writes for the owner alone
                sync(path)
        sync(part)
        os.rename(part, out)  # fails if something has come to be there, an empty folder aside
    except OSError as error:
        if out.exists() and error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise UserError("is there already", where=f"--out {out}", remedy="give another folder") from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(handle)
    sync(out.parent)


def _sweep_away(out: Path) -> None:
    """Delete what killed exports to the same folder have left."""
    for part in out.parent.glob(f".{glob.escape(out.name)}.*.part"):
        handle = os.open(part, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(part, ignore_errors=True)
        except BlockingIOError:
            pass  # being written
        finally:
            os.close(handle)
