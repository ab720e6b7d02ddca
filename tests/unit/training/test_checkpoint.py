"""Checkpoints are whole or do not count, whatever a kill leaves."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from webshop_rl.distributed.ranks import trained_tensors
from webshop_rl.training import checkpoint as module
from webshop_rl.training.checkpoint import (
    COMPLETE,
    OPTIMISER,
    STATE,
    WEIGHTS,
    Checkpoint,
    drop_optimiser,
    find_checkpoints,
    is_complete,
    sweep_away,
    write_checkpoint,
)

FILES = (WEIGHTS, OPTIMISER, STATE, COMPLETE)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def trained(net: nn.Module) -> torch.optim.Optimizer:
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.1)
    net(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    return optimiser


def save(folder: Path, update: int, *, seed: int | None = None) -> tuple[Checkpoint, nn.Module]:
    net = network(update if seed is None else seed)
    optimiser = trained(net)
    state = {"update": update, "note": "é"}
    return write_checkpoint(folder, update, trained_tensors(net), optimiser.state_dict(), state), net


def weights(net: nn.Module) -> list[Tensor]:
    return [p.detach() for p in net.parameters()]


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    written, net = save(tmp_path, 7)
    other = network(99)
    optimiser = torch.optim.AdamW(other.parameters(), lr=0.5)
    (found,) = find_checkpoints(tmp_path)
    assert found == written
    assert found.state() == {"update": 7, "note": "é"}
    found.load(other, optimiser)
    assert all(torch.equal(a, b) for a, b in zip(weights(net), weights(other), strict=True))
    # The optimiser goes on as the first one would have.
    first = torch.optim.AdamW(net.parameters(), lr=0.5)
    found.load(net, first)
    for model, stepper in ((net, first), (other, optimiser)):
        stepper.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        stepper.step()
    assert all(torch.equal(a, b) for a, b in zip(weights(net), weights(other), strict=True))


@pytest.mark.parametrize("name", FILES)
def test_a_file_torn_anywhere_falls_back_to_the_one_before(tmp_path: Path, name: str) -> None:
    save(tmp_path, 1)
    last, _ = save(tmp_path, 2)
    whole = (last.path / name).read_bytes()
    offsets = {0, 1, len(whole) - 1, *random.Random(name).sample(range(len(whole)), min(60, len(whole)))}
    for offset in offsets:
        (last.path / name).write_bytes(whole[:offset])
        assert [c.update for c in find_checkpoints(tmp_path)] == [1], offset
    (last.path / name).unlink()
    assert [c.update for c in find_checkpoints(tmp_path)] == [1]
    (last.path / name).write_bytes(whole)
    assert [c.update for c in find_checkpoints(tmp_path)] == [1, 2]


def test_every_file_is_as_readable_as_the_umask_has_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        written, _ = save(tmp_path, 1)
    finally:
        os.umask(before)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in written.path.iterdir()} == dict.fromkeys(
        FILES, "0o640"
    )


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_noticed(tmp_path: Path, name: str) -> None:
    last, _ = save(tmp_path, 2)
    content = bytearray((last.path / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (last.path / name).write_bytes(content)
    assert find_checkpoints(tmp_path) == []


def test_a_torn_checkpoint_is_written_again(tmp_path: Path) -> None:
    torn, _ = save(tmp_path, 2)
    (torn.path / WEIGHTS).write_bytes(b"")
    save(tmp_path, 2)
    assert is_complete(torn.path)


def test_a_complete_checkpoint_is_left_as_it_is(tmp_path: Path) -> None:
    first, net = save(tmp_path, 2)
    save(tmp_path, 2, seed=50)
    again = network(1)
    first.load(again)
    assert torch.equal(weights(again)[0], weights(net)[0])


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("call", range(7))
def test_killed_at_any_step_of_writing_the_one_before_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Every flush to the disk and the rename are places to die at."""
    save(tmp_path, 1)
    plain, count = module.sync, [0]

    def sync(path: Path) -> None:
        if count[0] == call:
            raise Killed
        count[0] += 1
        plain(path)

    monkeypatch.setattr(module, "sync", sync)
    try:
        save(tmp_path, 2)
        killed = False
    except Killed:
        killed = True
    monkeypatch.setattr(module, "sync", plain)
    found = [c.update for c in find_checkpoints(tmp_path)]
    assert found in ([1], [1, 2])
    assert killed == (call < 6)  # four files, the folder they are in, and the one it is renamed in
    sweep_away(tmp_path, set(found))
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"update_{n:06d}" for n in found]


def test_half_written_and_superfluous_ones_are_swept_away(tmp_path: Path) -> None:
    for update in (1, 2, 3):
        save(tmp_path, update)
    (tmp_path / f".partial_000004_{os.getpid()}").mkdir()
    shutil.copytree(tmp_path / "update_000003", tmp_path / "update_000005")
    (tmp_path / "update_000005" / STATE).write_text("")
    (tmp_path / "notes.txt").write_text("a person's own")
    sweep_away(tmp_path, {1, 3})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt", "update_000001", "update_000003"]
    sweep_away(tmp_path / "absent", set())


def test_the_optimiser_goes_and_the_rest_stays_whole(tmp_path: Path) -> None:
    written, net = save(tmp_path, 3)
    drop_optimiser(written)
    assert not (written.path / OPTIMISER).exists()
    assert find_checkpoints(tmp_path) == [written]
    drop_optimiser(written)
    again = network(1)
    # A finished run may still be resumed into: its weights are there, and no step follows.
    written.load(again, torch.optim.AdamW(again.parameters(), lr=0.5))
    assert torch.equal(weights(again)[0], weights(net)[0])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    written, _ = save(tmp_path, 3)
    with pytest.raises(ValueError, match="do not fit"):
        written.load(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="do not fit"):
        written.load(nn.Sequential(nn.Linear(3, 4)))
